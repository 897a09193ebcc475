"""Seeded runs of pipelines in which steps fail, hang, are left and are cancelled; see `test_pipeline_faults`."""
