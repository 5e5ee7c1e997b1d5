"""What the actions of the table do, one module per kind of object.

A handler takes the console and nothing else; it reads the focused pane's targets, and gives work that touches the
engine to ``console.submit``. Called by ``Console.action_perform`` alone.
"""
