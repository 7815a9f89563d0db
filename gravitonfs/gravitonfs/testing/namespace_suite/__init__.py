"""The conformance suite of ``Namespace``, ``PackRegistry``, ``LooseBlocks`` and ``Upkeep``.

An implementation's tests derive from the classes here and supply a fixture ``stores``: a
:class:`~gravitonfs.testing.namespace_suite.driver.Stores`, which opens one and the same store again
and again.
"""
