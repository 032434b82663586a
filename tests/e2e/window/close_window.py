"""Asks every top window of one title to close, as a window's close button does. usage: close_window.py TITLE"""

import sys

from Xlib import display
from Xlib.protocol import event


def windows(root):
    for window in root.query_tree().children:
        yield window
        yield from windows(window)


screen = display.Display()
protocols, delete = (screen.intern_atom(name) for name in ("WM_PROTOCOLS", "WM_DELETE_WINDOW"))
asked = 0
for window in windows(screen.screen().root):
    if window.get_wm_name() == sys.argv[1] and delete in window.get_wm_protocols():
        window.send_event(event.ClientMessage(window=window, client_type=protocols, data=(32, [delete, 0, 0, 0, 0])))
        asked += 1
screen.sync()
sys.exit(0 if asked else f"no window is called {sys.argv[1]}")
