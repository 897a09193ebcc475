"""What ties the workers of one gateway together: the process that started them is asked, and asks."""
