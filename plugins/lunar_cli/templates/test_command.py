from template_package.template_entry import template_entry

from lunar_core.testing import CommandConformance


class TestTemplateClass(CommandConformance):
    component = template_entry


def test_it_counts_the_parameters_of_a_model(lunar_run):
    done = lunar_run("template_entry", "mlp", "--shape", "1x8x8")
    assert done.returncode == 0, done.stderr
    expected = 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert done.stdout.splitlines()[-1].split()[0] == f"{expected:,}"


def test_a_run_goes_on_beside_it(lunar_train):
    assert lunar_train("epochs=3")["accuracy"] > 0.7
