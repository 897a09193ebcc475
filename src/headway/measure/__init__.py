"""What is measured on purpose: requests sent for the sake of their times."""
