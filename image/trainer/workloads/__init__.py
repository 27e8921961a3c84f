"""The trainings: those that are built in, what a user's file says, and what the loop needs of each."""
