"""Find faces, follow them, choose the main one, align it, and place its landmarks."""
