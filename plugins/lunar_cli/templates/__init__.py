"""What ``lunar plugins new`` writes, as it is written.

For each kind there is one module, ``optimizer.py``, and its test, ``test_optimizer.py``; they are real code in which
``TemplateClass``, ``template_entry``, ``template_package`` and ``template-dist`` stand for the names of the package. The
rest of a package is in ``common``.
"""
