import json

from template_package.template_entry import TemplateClass

from lunar_core.testing import InstrumentationConformance


class TestTemplateClass(InstrumentationConformance):
    component = TemplateClass


def test_its_figure_stands_in_the_history_of_a_run(lunar_train):
    figures = lunar_train("epochs=2")
    history = json.loads((figures.folder / "history.json").read_text())
    assert "template_entry" in json.dumps(history)
    assert figures["accuracy"] > 0.5


def test_it_is_switched_off_by_name(lunar_train):
    figures = lunar_train("epochs=1", env={"LUNAR_DISABLE_PLUGINS": "plugins.template_entry"})
    assert "template_entry" not in (figures.folder / "history.json").read_text()
