"""The vocabulary that everything else speaks; imports nothing but msgspec."""
