"""What goes where: estimates, costs, and which joins send keys."""
