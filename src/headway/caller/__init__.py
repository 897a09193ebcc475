"""Caller layers, in order: record -> deadline -> cache -> join. Each is one request's business."""
