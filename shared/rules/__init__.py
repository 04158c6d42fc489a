"""What several services must do alike."""
