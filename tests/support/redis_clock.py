"""A Redis client whose scripts read the time that a test sets."""

import redis

_KEY = "virtual:time"


class ClockedRedis(redis.Redis):
    """A client whose scripts have a clock that only the test moves; keys expire as ever."""

    def register_script(self, script):
        return super().register_script(
            script.replace("call('TIME')", f"call('LRANGE', '{_KEY}', 0, -1)")
        )

    def set_time(self, at_s):
        """Let the time be *at_s*, in seconds."""
        with self.pipeline() as pipe:
            pipe.delete(_KEY)
            pipe.rpush(_KEY, int(at_s), int(at_s % 1 * 1_000_000))
            pipe.execute()
