"""Mail to those who look after an installation. What it says is the caller's; how it goes stands in the settings."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate

from config.errors import MellanrumError
from config.settings.schema import MailSettings

#: How long the server may take for each answer.
ANSWER_SECONDS_MAX = 20


class MailRefused(MellanrumError):
    """The mail could not be handed to {host}: {why}."""

    exit_code = 69


def send(settings: MailSettings, identity: str, subject: str, text: str) -> None:
    """Hand one mail over to the server that is set up, and return once it took it. Raises MailRefused.

    `identity` names the mail, so that one that comes twice is seen to be the same.
    """
    message = EmailMessage()
    message["From"], message["To"] = settings.sender, ", ".join(settings.recipients)
    message["Subject"], message["Date"] = subject, formatdate()
    domain = settings.sender.rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{identity}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    try:
        server = _connected(settings)
        try:
            if settings.user:
                server.login(settings.user, _password(settings))
            server.send_message(message)
            with suppress(OSError, smtplib.SMTPException):  # it is taken, whatever the farewell
                server.quit()
        finally:
            server.close()
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise MailRefused(host=settings.host, why=type(error).__name__) from error


def _connected(settings: MailSettings) -> smtplib.SMTP:
    if settings.security == "none":
        return smtplib.SMTP(settings.host, settings.port, timeout=ANSWER_SECONDS_MAX)
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    if settings.security == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=ANSWER_SECONDS_MAX, context=context)
    server = smtplib.SMTP(settings.host, settings.port, timeout=ANSWER_SECONDS_MAX)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _password(settings: MailSettings) -> str:
    if settings.password_file is None:
        return settings.password
    return settings.password_file.read_text(encoding="utf-8").strip("\r\n")
