"""Home Assistant discovery: the devices and entities that the bridge announces."""
