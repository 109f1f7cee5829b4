"""Every error this project raises on purpose, sorted by what is done about it.

* RmbgError
  x ConfigError              say what is wrong and exit 2; nothing has been started
    + InvalidOption            an option, variable or value that cannot be used
    + InvalidPrefix            a save prefix that escapes or is reserved
    + UnknownModel             a `rem_mode` that is not in the registry
    + LicenceRefused           a non-commercial model where `RMBG_COMMERCIAL=1`
    + WeightsInvalid           missing, truncated or altered weights; nothing is loaded
    + DeviceMissing            the device asked for is not there
    + UnknownJob               no such job in Redis nor in the bucket
    + JobConflict              a job id that already means other keys or parameters
    + JobNotDone               `retry` of a job that is not done
    + NoKeys                   a submission that found no image key
  x ServiceUnavailable       a service cannot be reached or refuses us: exit 3 at a command line
    + RedisUnavailable
    + RedisFull                Redis is at its memory limit: submit nothing, try later
    + StoreUnavailable         the object store, now; in a worker: try again, blame nobody
    + BucketUnavailable        a bucket is missing or forbidden; in a worker: the job waits
  x ItemError                this item can never succeed: record it as failed, go on
    + InvalidKey
    + ObjectMissing
    + UndecodableImage
    + UnsupportedImage
    + ImageTooLarge
    + OutputExists             `--existing fail`, and something is there
    + WorkerCrash              the item ended three workers
    + RetriesExhausted         a transient fault that outlasted the item's attempts
  x WorkerUnfit              this process can do no more work: release everything, exit
    + DeviceLost
"""

from __future__ import annotations


class RmbgError(Exception):
    """Base of all errors that are raised on purpose."""


class ConfigError(RmbgError):
    """What was asked for cannot be done as asked: exit 2."""


class InvalidOption(ConfigError):
    """An option, variable or value that cannot be used."""


class InvalidPrefix(ConfigError):
    """A save prefix that escapes, is reserved or too long."""


class UnknownModel(ConfigError):
    """A `rem_mode` that is not in the registry."""


class LicenceRefused(ConfigError):
    """A model whose licence forbids commercial use, where `RMBG_COMMERCIAL=1`."""


class WeightsInvalid(ConfigError):
    """Weights that are missing, truncated or not the ones that were expected."""


class DeviceMissing(ConfigError):
    """The device asked for is not on this machine."""


class UnknownJob(ConfigError):
    """No job of this id is known."""


class JobConflict(ConfigError):
    """The job id already means other keys or parameters."""


class JobNotDone(ConfigError):
    """The job has not reached the state this needs."""


class NoKeys(ConfigError):
    """The source held no image key, so there is no job."""


class ServiceUnavailable(RmbgError):
    """A service cannot be reached, or refuses us: exit 3 at a command line."""


class RedisUnavailable(ServiceUnavailable):
    """Redis cannot be asked now."""


class RedisFull(ServiceUnavailable):
    """Redis is at its memory limit and takes no more work."""


class StoreUnavailable(ServiceUnavailable):
    """The object store cannot be asked now; the same request may succeed later."""


class BucketUnavailable(ServiceUnavailable):
    """A bucket is missing, or we have no right to it: its job waits until that is mended."""


class ItemError(RmbgError):
    """This item can never succeed; its class name and text become the record's reason."""


class InvalidKey(ItemError):
    """An image key from which no output key can be made."""


class ObjectMissing(ItemError):
    """There is no object at the key."""


class UndecodableImage(ItemError):
    """The bytes are not a picture, or a damaged one."""


class UnsupportedImage(ItemError):
    """A picture of a kind that is not read here."""


class ImageTooLarge(ItemError):
    """Over a limit of pixels, bytes or aspect; the text names the limit."""


class OutputExists(ItemError):
    """`--existing fail`, and another picture is at the output key."""


class WorkerCrash(ItemError):
    """Three workers died on this item alone."""


class RetriesExhausted(ItemError):
    """A transient fault outlasted the item's attempts."""


class WorkerUnfit(RmbgError):
    """This process can do no more work: release everything and exit."""


class DeviceLost(WorkerUnfit):
    """The device answers with an error that only a new process clears."""
