"""Open a text document by URL in LibreOffice, write each text into it and save it where it lies, and close it.

    /usr/bin/python3 libreoffice_save.py PIPE ORIGIN URL LOGIN PASSWORD TEXT...

Run by the python3 that has python3-uno, beside a soffice that accepts on PIPE. The password goes into LibreOffice's own
container, where "Remember password" of its dialog would put it.
"""

import os
import sys
import time
import traceback

import uno
from com.sun.star.beans import PropertyValue
from com.sun.star.connection import NoConnectException


def connect(pipe):
    """Return LibreOffice's component context, once it listens."""
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    for _ in range(300):
        try:
            return resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except NoConnectException:
            time.sleep(0.1)
    sys.exit("LibreOffice does not listen")


def setting(name, value):
    """Return a named value, as LibreOffice takes its arguments."""
    made = PropertyValue()
    made.Name, made.Value = name, value
    return made


def main(pipe, origin, url, login, password, *texts):
    """Do it."""
    context = connect(pipe)
    desktop, container, handler = (
        context.ServiceManager.createInstanceWithContext(f"com.sun.star.{name}", context)
        for name in ("frame.Desktop", "task.PasswordContainer", "task.InteractionHandler")
    )
    container.add(origin, login, (password,), handler)
    try:
        arguments = (setting("Hidden", True), setting("InteractionHandler", handler))
        document = desktop.loadComponentFromURL(url, "_blank", 0, arguments)
        if document is None or document.isReadonly():
            sys.exit("it does not open for writing")
        print(document.Text.String)
        for text in texts:
            document.Text.String = text
            document.store()
        document.close(True)
    finally:
        desktop.terminate()


def run():
    """Do it, and return the exit code."""
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


status = run()
sys.stdout.flush()
sys.stderr.flush()
# LibreOffice ends at the same time, and the bridge to it, taken down while Python ends, now and then crashes (-11).
os._exit(status)
