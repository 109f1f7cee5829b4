"""Models in memory: loaded once, at most two, failures cached."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import DeviceFull, DeviceLost, WeightsInvalid
from worker.inference.api import Model
from worker.inference.model_cache import ModelCache, ModelRefused


def model_of(name):
    """Return a model; the cache never looks at its segmenter."""
    return Model(name=name, licence="none", segmenter=object())


class Loads:
    """Records the names of loaded models; loading fails for names that begin with `no`."""

    def __init__(self):
        self.names = []

    def __call__(self, name):
        self.names.append(name)
        if name.startswith("no"):
            raise WeightsInvalid(f"{name}: no weights")
        return model_of(name)


def test_a_model_is_loaded_once():
    loads = Loads()
    cache = ModelCache(loads)

    assert cache.get("a") is cache.get("a")
    assert loads.names == ["a"]


def test_the_two_used_last_stay_in_memory():
    loads = Loads()
    cache = ModelCache(loads)
    for name in ("a", "b", "a", "c"):
        cache.get(name)

    assert set(cache.loaded) == {"a", "c"}
    cache.get("a")
    cache.get("b")
    assert loads.names == ["a", "b", "c", "b"]


def test_a_failed_load_is_cached_with_its_reason():
    loads = Loads()
    cache = ModelCache(loads)

    for _ in range(2):
        with pytest.raises(ModelRefused, match="no weights"):
            cache.get("nope")

    assert loads.names == ["nope"]
    assert cache.refused == {"nope": "nope: no weights"}
    assert cache.loaded == ()


def test_threads_that_need_a_model_at_once_load_it_once():
    loads = Loads()
    cache, start, got = ModelCache(loads), threading.Barrier(8), []

    def get():
        start.wait(10)
        got.append(cache.get("a"))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert loads.names == ["a"]
    assert len({id(model) for model in got}) == 1


@pytest.fixture
def quick_switches():
    """Switch threads so often that missing locks show."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual_s)


def test_failed_loads_can_be_read_while_others_are_added(quick_switches):
    """A worker's registration reads what ticket threads write."""
    cache = ModelCache(Loads())

    def fail():
        for n in range(2000):
            with pytest.raises(ModelRefused):
                cache.get(f"no{n}")

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(fail)
        while not failing.done():
            assert len(cache.refused) <= 2000
        failing.result()

    assert len(cache.refused) == 2000


def test_reading_does_not_wait_for_a_load():
    loading, proceed = threading.Event(), threading.Event()

    def load(name):
        loading.set()
        assert proceed.wait(30)
        return model_of(name)

    cache = ModelCache(load)
    with ThreadPoolExecutor(2) as pool:
        model = pool.submit(cache.get, "a")
        assert loading.wait(10)
        reading = pool.submit(lambda: (cache.loaded, cache.refused))

        assert reading.result(10) == ((), {})
        proceed.set()
        model.result(10)

    assert cache.loaded == ("a",)


class Segmenter:
    """Prepares images, unless its device is lost for the whole process."""

    def __init__(self, *, is_lost=False):
        self.is_lost = is_lost

    def prepare(self, image):
        if self.is_lost:
            raise DeviceLost("every call fails")
        return image


def cache_with(segmenter, error):
    """Return a cache that holds one model, and fails to load any other with *error*."""

    def load(name):
        if name == "loaded":
            return Model(name=name, licence="none", segmenter=segmenter)
        raise error

    cache = ModelCache(load)
    cache.get("loaded")
    return cache


@pytest.mark.parametrize("error", [DeviceLost("no kernel"), DeviceFull("no memory")])
def test_a_model_that_fails_on_a_device_that_works_is_refused(error):
    cache = cache_with(Segmenter(), error)

    for _ in range(2):
        with pytest.raises(ModelRefused, match=str(error)):
            cache.get("other")

    assert cache.refused == {"other": str(error)}
    assert cache.get("loaded").name == "loaded"


@pytest.mark.parametrize("error", [DeviceLost("illegal access"), DeviceFull("no memory")])
def test_a_load_that_breaks_the_device_for_the_process_is_not_blamed_on_the_model(error):
    cache = cache_with(Segmenter(is_lost=True), error)

    with pytest.raises(type(error)):
        cache.get("other")

    assert cache.refused == {}


@pytest.mark.parametrize("error", [DeviceLost("gone"), DeviceFull("no memory")])
def test_a_device_that_fails_for_the_first_model_refuses_none(error):
    def load(_name):
        raise error

    cache = ModelCache(load)

    with pytest.raises(type(error)):
        cache.get("first")

    assert cache.refused == {}
