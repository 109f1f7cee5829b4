"""All errors that this project raises, grouped by how a caller handles them.

* RmbgError
  x ConfigError              report it and exit with 2; nothing has been started
    + InvalidOption            an option, variable or value that is not valid
      - InvalidRecipe            a recipe with problems; the message lists all
      - FeatureMissing           a job needs a feature that this version does not know
    + InvalidPrefix            a save prefix that is not allowed
    + UnknownModel             a `rem_mode` that is not in the registry
    + LicenceRefused           a non-commercial model with `RMBG_COMMERCIAL=1`
    + WeightsInvalid           missing, truncated or altered weights; nothing is loaded
    + DeviceMissing            the requested device does not exist
    + DeviceUnsupported        a driver or device that this torch cannot use
    + UnknownKey               there is no API key of this name
    + UnknownJob               the job is neither in Redis nor in the bucket
    + JobConflict              the job id is in use for other keys or parameters
    + JobNotDone               the job has not ended, so it cannot be retried
    + NoKeys                   a submission without image keys
    + TooManyOpen              a tenant has as many open images as it may have
    + ServiceUnfit             a service that would lose or damage work; see `rmbg doctor`
  x ServiceUnavailable       a service is unreachable or refuses access; commands exit with 3
    + RedisUnavailable         try again later
      - RedisRefused             Redis refuses the user, a right or the database: fix that first
    + RedisFull                Redis is at its memory limit: submit nothing, try again later
    + StoreUnavailable         the object store failed; a worker retries, counting no attempt
    + BucketUnavailable        a bucket is missing or forbidden; a worker defers the job
      - RequestRefused           the store refuses one request; other keys of the bucket may work
  x ItemError                the item can never succeed: record it as failed and continue
    + InvalidKey
    + ObjectMissing
    + ObjectForbidden          access to this object is denied, and other objects can be read
    + ObjectArchived           the object is in an archive tier
    + ObjectRefused            the store refuses this object for a reason of its own
    + UndecodableImage
    + UnsupportedImage
    + ImageTooLarge
    + OutputExists             another image is at the output key, with `--existing fail`
    + RenderFailed             an output cannot be rendered; the others are written
    + InferenceFailed          the network fails on this image, and works on others
    + WorkerCrash              the item crashed three workers
    + RetriesExhausted         a transient error persisted through all attempts
  x WorkerUnfit              the process cannot continue: release all tickets and exit
    + DeviceLost
      - DeviceFaulty             it fails on image after image, and not on a blank one
    + DeviceFull               no device memory for one image: wait, then exit

The errors that an object store raises carry the attributes of `StoreError`.
"""


class StoreError(Exception):
    """Mixin for errors of an object store: which call failed, where and why.

    Attributes are empty if the error was not raised by a store.
    """

    def __init__(
        self, *args: object, bucket: str = "", operation: str = "", code: str = ""
    ) -> None:
        super().__init__(*args)
        self.bucket = bucket
        self.operation = operation
        """Method of `ObjectStore`: get, put, list, ..."""
        self.code = code
        """S3 error code, such as `AccessDenied`; empty if there was no response."""


class RmbgError(Exception):
    """Base class of all errors that this project raises."""


class ConfigError(RmbgError):
    """A request that is not valid; commands exit with 2."""


class InvalidOption(ConfigError):
    """An option, variable or value that is not valid."""


class InvalidRecipe(InvalidOption):
    """A recipe cannot be read, or has problems; the message lists all of them."""


class FeatureMissing(InvalidOption):
    """A job needs a feature that this version does not know; the message names one that does."""


class InvalidPrefix(ConfigError):
    """A save prefix that leaves its folder, is reserved or is too long."""


class UnknownModel(ConfigError):
    """A `rem_mode` that is not in the registry."""


class LicenceRefused(ConfigError):
    """A model whose licence forbids commercial use, with `RMBG_COMMERCIAL=1`."""


class WeightsInvalid(ConfigError):
    """Weights that are missing, truncated or have another hash than expected."""


class DeviceMissing(ConfigError):
    """The requested device does not exist on this machine."""


class DeviceUnsupported(ConfigError):
    """A driver or a device that the installed torch cannot use."""


class UnknownKey(ConfigError):
    """There is no API key of this name."""


class UnknownJob(ConfigError):
    """There is no job with this id."""


class JobConflict(ConfigError):
    """The job id is in use for other keys or parameters."""


class TooManyOpen(ConfigError):
    """A tenant would have more open images than it may have."""


class JobNotDone(ConfigError):
    """The job is not in the state that the request needs."""


class NoKeys(ConfigError):
    """The source held no image keys, so no job was created."""


class ServiceUnfit(ConfigError):
    """A service answers, but is set up so that work would be lost or damaged."""


class ServiceUnavailable(RmbgError):
    """A service is unreachable or refuses access; commands exit with 3."""


class RedisUnavailable(ServiceUnavailable):
    """Redis did not answer."""


class RedisRefused(RedisUnavailable):
    """Redis refuses the user, a command or the database; waiting does not help."""


class RedisFull(ServiceUnavailable):
    """Redis is at its memory limit and accepts no writes."""


class StoreUnavailable(StoreError, ServiceUnavailable):
    """The object store failed; the same request may succeed later."""


class BucketUnavailable(StoreError, ServiceUnavailable):
    """A bucket is missing or access is denied; its job waits until that is fixed."""


class RequestRefused(BucketUnavailable):
    """The store refuses a request for one key, and repeating it does not help.

    The key or the bucket may be the cause. A caller that finds that other keys of the
    bucket work raises `ObjectForbidden` or `ObjectRefused` instead; otherwise the job waits.
    """


class ItemError(RmbgError):
    """The item can never succeed; class name and message become the record's `error`."""


class InvalidKey(StoreError, ItemError):
    """An image key for which there can be no output key."""


class ObjectMissing(StoreError, ItemError):
    """There is no object at the key."""


class ObjectForbidden(StoreError, ItemError):
    """Access to this object is denied, while other objects of the bucket can be read."""


class ObjectArchived(StoreError, ItemError):
    """The object is in an archive tier and must be restored before it can be read."""


class ObjectRefused(StoreError, ItemError):
    """The store refuses requests for this object for a reason of its own, and serves others."""


class UndecodableImage(ItemError):
    """The file is not an image, or it is damaged."""


class UnsupportedImage(ItemError):
    """An image in a format that is not supported."""


class ImageTooLarge(StoreError, ItemError):
    """An image over a limit of pixels, bytes or aspect ratio; the message names the limit."""


class OutputExists(ItemError):
    """Another image is at the output key, and the job was submitted with `--existing fail`."""


class RenderFailed(ItemError):
    """An output cannot be rendered from its recipe; the item's other outputs are written."""


class InferenceFailed(ItemError):
    """The network fails on this image, alone and in fp32, while it works on a blank one."""


class WorkerCrash(ItemError):
    """Three workers crashed while they processed only this item."""


class RetriesExhausted(ItemError):
    """A transient error persisted through all attempts of the item."""


class WorkerUnfit(RmbgError):
    """The process cannot continue; it releases all tickets and exits."""


class DeviceLost(WorkerUnfit):
    """The device fails in a way that only a new process clears."""


class DeviceFaulty(DeviceLost):
    """The device fails on image after image, and not on a blank one."""


class DeviceFull(WorkerUnfit):
    """The device has no memory for one image at present; other processes may release some."""
