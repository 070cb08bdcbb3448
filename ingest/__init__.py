"""Cameras in, crops out: camera -> decode -> motion -> detect -> track -> best shot -> crops on Redis."""
