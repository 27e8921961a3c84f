"""The trainings that are built in, and what is known of a user's."""
