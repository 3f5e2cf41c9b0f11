"""TPC-H and TPC-DS over split sources: data makers, loaders, an exact comparer and the tests."""
