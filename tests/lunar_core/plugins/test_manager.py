"""The plugin manager, hook plugins, refreshing, threads."""

from __future__ import annotations

import sys
import threading
import warnings

import pluggy
import pytest
from packages import OPTIMIZERS, dist_info, registry_of, write_module, write_package

import lunar_core
from lunar_core.errors import HookError, PluginBlockedError, PluginConflictError, PluginLoadError
from lunar_core.plugins import GROUPS, ComponentPlugin, PluginWarning
from lunar_core.plugins.loading import contract


def test_the_manager_is_lunar_core_plugins_and_the_package_of_that_name_can_still_be_imported():
    import lunar_core.plugins as by_alias
    from lunar_core.plugins import registry
    from lunar_core.plugins.groups import prefix

    assert isinstance(lunar_core.plugins, pluggy.PluginManager) and lunar_core.plugins is registry.manager
    assert by_alias.GROUPS is GROUPS and prefix("loss") == "losses"
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = lunar_core.plugins.nothing_of_that_name


class Reader:
    def __init__(self):
        self.loaded = []

    def lunar_component_loaded(self, component):
        self.loaded.append(component.name)


def test_components_are_on_the_plugin_manager_as_records(site):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    write_package(site, "bar", {"sgd": "Sgd"})
    manager = registry_of(site).manager
    assert isinstance(manager, pluggy.PluginManager)
    record = manager.get_plugin("optimizers.adam")
    assert isinstance(record, ComponentPlugin) and record.status == "available" and "foo" not in sys.modules
    assert sorted(n for n, _ in manager.list_name_plugin()) == [
        "optimizers.adam",
        "optimizers.bar/sgd",
        "optimizers.foo/sgd",
    ]


def test_a_record_costs_no_dict(site):
    write_package(site, "foo", {"adam": "Adam"})
    assert not hasattr(registry_of(site).info("optimizer", "adam"), "__dict__")


def test_blocking_and_unregistering_on_the_manager_count_in_the_registry(site):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    registry.manager.set_blocked("optimizers.adam")
    registry.manager.unregister(name="optimizers.sgd")
    assert registry.names("optimizer") == [] and registry.manager.is_blocked("optimizers.adam")
    with pytest.raises(PluginBlockedError, match=r"lunar_core\.plugins\.unregister or set_blocked"):
        registry.get("optimizer", "sgd")


def test_a_change_of_the_hook_implementations_is_told_and_counted(site):
    write_package(site, "foo", {"adam": "Adam"})
    manager = registry_of(site).manager
    told = []
    stop = manager.on_change(lambda: told.append(manager.changes))
    assert manager.changes == 0
    reader = Reader()
    manager.register(reader)
    manager.register(object())
    manager.unregister(reader)
    stop()
    manager.register(reader, "again")
    assert told == [1, 2] and manager.changes == 3


def test_a_wrong_hook_is_refused_and_nothing_is_registered(site):
    manager = registry_of(site).manager

    class Misspelled:
        def lunar_after_stepp(self):
            pass

    class Wrong:
        def lunar_after_step(self, stop):
            pass

    with pytest.raises(HookError, match=r"'lunar_after_stepp'\n.*lunar_after_step"):
        manager.register(Misspelled())
    with pytest.raises(HookError, match="stop"):
        manager.register(Wrong())
    with pytest.raises(HookError, match="is a class"):
        manager.register(Reader)
    assert manager.list_name_plugin() == [] and manager.changes == 0


def test_loading_a_component_is_told_once_to_those_who_listen(site):
    write_package(site, "foo", {"adam": "Adam", "sgd": "Sgd"})
    registry = registry_of(site)
    registry.get("optimizer", "adam")
    reader = Reader()
    registry.manager.register(reader)
    registry.get("optimizer", "sgd")
    registry.get("optimizer", "sgd")
    assert sorted(reader.loaded) == ["adam", "sgd"]


def test_a_hook_plugin_may_decide_between_namesakes(site):
    write_package(site, "foo", {"lion": "Adam"})
    write_package(site, "bar", {"lion": "Adam"})
    registry = registry_of(site)

    class Decides:
        answer = "foo"

        def lunar_conflict(self, kind, name, candidates):
            return self.answer

    plugin = Decides()
    registry.manager.register(plugin)
    assert registry.get("optimizer", "lion").__module__ == "foo"
    plugin.answer = "nobody"
    with pytest.raises(PluginConflictError, match="answered 'nobody'"):
        registry.get("optimizer", "lion")


HOOKS = """
calls = []

class Counter:
    def lunar_after_step(self, step):
        calls.append(step)

instance = Counter()

def lunar_before_fetch():
    calls.append("fetch")
"""


def test_installed_hook_plugins_are_loaded_when_hooks_are_first_needed(site):
    write_module(site, "hooked", HOOKS)
    dist_info(site, "hooked", {"lunar.plugins": {"cls": "hooked:Counter", "obj": "hooked:instance", "mod": "hooked"}})
    registry = registry_of(site)
    assert "hooked" not in sys.modules and isinstance(registry.manager.get_plugin("plugins.cls"), ComponentPlugin)
    assert [name for name, _ in registry.manager.hook_plugins()] == ["plugins.cls", "plugins.mod", "plugins.obj"]
    bus = registry.manager.bus
    bus.after_step(7)
    bus.before_fetch()
    assert sys.modules["hooked"].calls == [7, 7, "fetch"]
    registry.disable("plugins.cls", "plugins.mod")
    bus.after_step(8)
    assert bus.before_fetch is None and sys.modules["hooked"].calls == [7, 7, "fetch", 8]


def test_a_hook_plugin_with_a_misspelled_hook_is_named_and_the_others_work(site):
    write_module(site, "good", HOOKS)
    write_module(site, "bad", "class Bad:\n    def lunar_after_stepp(self): pass\n")
    dist_info(site, "good", {"lunar.plugins": {"good": "good:Counter"}})
    dist_info(site, "bad", {"lunar.plugins": {"bad": "bad:Bad"}})
    registry = registry_of(site)
    with pytest.warns(PluginWarning, match=r"plugin 'bad' of bad 1\.0 \(bad:Bad\) cannot be used: .*lunar_after_stepp"):
        assert [name for name, _ in registry.manager.hook_plugins()] == ["plugins.good"]
    assert (
        registry.info("plugin", "bad").status == "broken"
        and "lunar_after_stepp" in registry.info("plugin", "bad").traceback
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.load_hook_plugins()


def test_a_broken_hook_plugin_is_fatal_when_strict(site, monkeypatch):
    write_module(site, "bad", "raise RuntimeError('no')\n")
    dist_info(site, "bad", {"lunar.plugins": {"bad": "bad:Bad"}})
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(PluginLoadError, match="RuntimeError: no"):
        registry_of(site).load_hook_plugins()


def test_refresh_finds_what_was_installed_meanwhile_and_keeps_what_is_loaded(site):
    write_package(site, "foo", {"adam": "Adam"})
    registry = registry_of(site)
    adam = registry.get("optimizer", "adam")
    mine = registry.register("optimizer", "mine", type("Mine", (contract("optimizer"),), {}))
    write_package(site, "bar", {"lion": "Adam"})
    registry.refresh()
    assert registry.names("optimizer") == ["adam", "lion", "mine"]
    assert registry.info("optimizer", "adam").object is adam and registry.get("optimizer", "mine") is mine


def test_what_was_broken_is_tried_again_after_refresh(site):
    write_package(site, "foo", {"adam": "Adam"}, "import a_module_that_comes_later\n" + OPTIMIZERS)
    registry = registry_of(site)
    for _ in range(2):
        with pytest.raises(PluginLoadError, match="a_module_that_comes_later"):
            registry.get("optimizer", "adam")
    write_module(site, "a_module_that_comes_later", "")
    registry.refresh()
    assert registry.get("optimizer", "adam").__module__ == "foo"


def test_threads_that_use_the_registry_first_at_the_same_time_agree(site):
    for i in range(20):
        write_package(site, f"dist{i}", {f"opt{i}": "Adam"}, "import time\ntime.sleep(0.005)\n" + OPTIMIZERS)
    write_module(site, "hooked", HOOKS)
    dist_info(site, "hooked", {"lunar.plugins": {"cls": "hooked:Counter"}})
    registry = registry_of(site)
    start, results = threading.Barrier(8), []

    def work():
        start.wait()
        classes = [registry.get("optimizer", f"opt{i}") for i in range(20)]
        results.append((tuple(classes), registry.manager, tuple(registry.manager.hook_plugins())))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 8 and len(set(results)) == 1 and len(results[0][2]) == 1
