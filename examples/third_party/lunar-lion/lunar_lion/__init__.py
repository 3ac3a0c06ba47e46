"""Lion for LunarLearn."""
