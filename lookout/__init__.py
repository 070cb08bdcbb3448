"""What all of Lookout's services share."""
