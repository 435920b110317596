"""What tissue does to sound, and the image to expect of it."""
