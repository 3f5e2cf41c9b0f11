"""A differential fuzz: can an expression tell, by failing or by its answer, what a policy hides?

Every scalar function, cast and operator that a query may use is tried over columns whose visible values are harmless
and whose hidden ones are chosen to make it fail. What fails on hidden values alone is asked through the road, behind
each form of policy, and must answer as over a database that holds the visible rows and nothing else.
"""
