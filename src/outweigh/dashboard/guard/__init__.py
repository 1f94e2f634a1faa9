"""Who may ask for what, how often and how much: everything a request passes before it reaches a route."""
