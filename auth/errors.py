"""What signing in and the keyring refuse, in the words a person reads."""

from __future__ import annotations

from config.errors import MellanrumError


class AuthError(MellanrumError):
    """You could not be signed in. Nothing was changed."""

    exit_code = 20


class SignInRefused(AuthError):
    """That name and password do not fit together. Check both, or ask your administrator for a new device password."""


class SignInNeeded(SignInRefused):
    """Nobody is let in without signing in. Do so with your login and a device password."""


class SignInUncounted(SignInRefused):
    """No password can be looked at just now: the server has no room to count those that are wrong.
    Device passwords and keys hold as before. Ask whoever looks after the server.
    """


class Throttled(AuthError):
    """There were too many failed sign-ins. Wait {retry_after} s, then try again."""

    exit_code = 21

    @property
    def retry_after(self) -> int:
        """Seconds until the next try counts."""
        value = self.facts["retry_after"]
        assert isinstance(value, int)
        return value


class AccountLocked(Throttled):
    """Too many sign-ins failed in a row: this account takes no password any longer from where you are.
    Waiting does not help. Ask whoever looks after the server to release it; device passwords and keys hold as before.
    """


class Revoked(AuthError):
    """What you signed in with no longer holds. Sign in anew, or ask your administrator."""

    exit_code = 22


class Paused(Revoked):
    """This was paused: it changed or deleted far more documents than ever before, as harmful programs do.
    What was stored stands, with every version from before. Ask whoever looks after the server to let it go on.
    """

    exit_code = 29


class UnknownName(AuthError):
    """There is no {kind} called {name}. Check the spelling; "mellanrum {kind} list" shows all."""

    exit_code = 23


class NameTaken(AuthError):
    """There is a {kind} called {name} already. It was left as it is. Choose another name."""

    exit_code = 24


class UnusableText(AuthError):
    """That {kind} cannot be used. It must have 1 to {length} characters, and no control characters among them."""

    exit_code = 26


class ForeignMember(AuthError):
    """That group belongs to one organisation, and a person to another. Nothing was changed.
    Add a group across organisations instead.
    """

    exit_code = 27


class SupplierNeeded(AuthError):
    """An installation has one supplier, no more and no less. Nothing was changed."""

    exit_code = 28


class LastAdministrator(AuthError):
    """{name} is the last who administers {organisation}. Nothing was changed.
    Let somebody else do so first: "mellanrum person set LOGIN --administrator yes".
    """

    exit_code = 28


class WeakPassword(AuthError):
    """That password is too easy to guess: {why} Nothing was changed. Choose a longer one."""

    exit_code = 25


class KeyringError(MellanrumError):
    """A key could not be used. Nothing was changed."""

    exit_code = 30


class RootKeyMissing(KeyringError):
    """The root key cannot be read from {source}. Nothing was started.
    Put it back, or restore it from the recovery kit.
    """


class CredentialOutside(RootKeyMissing):
    """The root key cannot be read from {source}: systemd hands it to the service alone. Nothing was started.
    Run commands with deploy/systemd/mellanrum-as-service, which does so as the service.
    """


class RootKeyExposed(KeyringError):
    """The root key in {source} can be read by others, or stands inside the data folder. Nothing was started.
    Let only its owner read it (chmod 600), and keep it elsewhere.
    """


class RootKeyExists(KeyringError):
    """There is something at {source} already, where the root key should go. It was left as it is.
    Move it away, or name another file.
    """


class RootKeyUnwritable(KeyringError):
    """The root key cannot be kept in {source}. Nothing was made. Check that its folder is there and may be written."""


class WrongRootKey(KeyringError):
    """The root key is not the one this installation was sealed with: expected {expected}, found {found}.
    Nothing was started. Use the key with that id.
    """


class UnknownKey(KeyringError):
    """The key {key} is not in the keystore. What it sealed cannot be read. Restore the keystore from its backup."""


class KeyUnreadable(KeyringError):
    """The key {key} cannot be read from the keystore: {why}. What it sealed is out of reach until that is mended.
    Run "mellanrum doctor".
    """


class KeyExists(KeyringError):
    """There is a key {key} already. It was left as it is."""


class SealBroken(KeyringError):
    """Something sealed was damaged, or was put in another place. It was not used."""
