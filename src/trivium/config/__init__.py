"""trivium.toml, environment and credentials, read once into frozen structs."""
