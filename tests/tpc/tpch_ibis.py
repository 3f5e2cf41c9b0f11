"""The 22 TPC-H queries as Ibis expressions, written from the questions they ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import ibis
from ibis import _

__all__ = ["QUERIES", "Tables"]

Expr = Any


@dataclass(frozen=True)
class Tables:
    """The eight tables, wherever they live."""

    region: Expr
    nation: Expr
    supplier: Expr
    customer: Expr
    part: Expr
    partsupp: Expr
    orders: Expr
    lineitem: Expr

    @classmethod
    def of(cls, table: Callable[[str], Expr]) -> Tables:
        """Ask `table` for each by name."""
        return cls(**{field.name: table(field.name) for field in fields(cls)})


def _revenue() -> Expr:
    return _.l_extendedprice * (1 - _.l_discount)


def _between(column: Expr, first: str, beyond: str) -> Expr:
    return (column >= ibis.date(first)) & (column < ibis.date(beyond))


def q01(t: Tables) -> Expr:
    """Pricing summary."""
    shipped = t.lineitem.filter(_.l_shipdate <= ibis.date("1998-09-02"))
    return (
        shipped.group_by("l_returnflag", "l_linestatus")
        .aggregate(
            sum_qty=_.l_quantity.sum(),
            sum_base_price=_.l_extendedprice.sum(),
            sum_disc_price=_revenue().sum(),
            sum_charge=(_revenue() * (1 + _.l_tax)).sum(),
            avg_qty=_.l_quantity.mean(),
            avg_price=_.l_extendedprice.mean(),
            avg_disc=_.l_discount.mean(),
            count_order=_.count(),
        )
        .order_by("l_returnflag", "l_linestatus")
    )


def q02(t: Tables) -> Expr:
    """Cheapest European supplier of each size-15 brass part."""
    offers = (
        t.partsupp.join(t.supplier, _.ps_suppkey == t.supplier.s_suppkey)
        .join(t.nation, _.s_nationkey == t.nation.n_nationkey)
        .join(t.region.filter(_.r_name == "EUROPE"), _.n_regionkey == t.region.r_regionkey)
    )
    cheapest = offers.group_by(cheapest_part=_.ps_partkey).aggregate(cheapest_cost=_.ps_supplycost.min())
    brass = t.part.filter(_.p_size == 15, _.p_type.like("%BRASS"))
    wanted = brass.join(offers, brass.p_partkey == offers.ps_partkey)
    best = wanted.join(
        cheapest,
        (wanted.p_partkey == cheapest.cheapest_part) & (wanted.ps_supplycost == cheapest.cheapest_cost),
    )
    columns = ("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
    return best.select(*columns).order_by(_.s_acctbal.desc(), "n_name", "s_name", "p_partkey").limit(100)


def q03(t: Tables) -> Expr:
    """Unshipped orders of the largest value."""
    building = t.customer.filter(_.c_mktsegment == "BUILDING")
    early = t.orders.filter(_.o_orderdate < ibis.date("1995-03-15"))
    late = t.lineitem.filter(_.l_shipdate > ibis.date("1995-03-15"))
    return (
        building.join(early, _.c_custkey == early.o_custkey)
        .join(late, _.o_orderkey == late.l_orderkey)
        .group_by("l_orderkey", "o_orderdate", "o_shippriority")
        .aggregate(revenue=_revenue().sum())
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
        .order_by(_.revenue.desc(), "o_orderdate")
        .limit(10)
    )


def q04(t: Tables) -> Expr:
    """Orders with a line that came late, by priority."""
    late = t.lineitem.filter(_.l_commitdate < _.l_receiptdate)
    quarter = t.orders.filter(_between(_.o_orderdate, "1993-07-01", "1993-10-01"))
    return (
        quarter.semi_join(late, quarter.o_orderkey == late.l_orderkey)
        .group_by("o_orderpriority")
        .aggregate(order_count=_.count())
        .order_by("o_orderpriority")
    )


def q05(t: Tables) -> Expr:
    """Revenue of local suppliers in Asia."""
    year = t.orders.filter(_between(_.o_orderdate, "1994-01-01", "1995-01-01"))
    asia = t.nation.join(t.region.filter(_.r_name == "ASIA"), _.n_regionkey == t.region.r_regionkey)
    return (
        t.customer.join(year, _.c_custkey == year.o_custkey)
        .join(t.lineitem, _.o_orderkey == t.lineitem.l_orderkey)
        .join(
            t.supplier,
            (t.lineitem.l_suppkey == t.supplier.s_suppkey) & (t.customer.c_nationkey == t.supplier.s_nationkey),
        )
        .join(asia, _.s_nationkey == asia.n_nationkey)
        .group_by("n_name")
        .aggregate(revenue=_revenue().sum())
        .order_by(_.revenue.desc())
    )


def q06(t: Tables) -> Expr:
    """Revenue that small discounts cost."""
    cheap = t.lineitem.filter(
        _between(_.l_shipdate, "1994-01-01", "1995-01-01"),
        _.l_discount.between(ibis.literal("0.05").cast("decimal(15, 2)"), ibis.literal("0.07").cast("decimal(15, 2)")),
        _.l_quantity < 24,
    )
    return cheap.aggregate(revenue=(_.l_extendedprice * _.l_discount).sum())


def q07(t: Tables) -> Expr:
    """Trade between France and Germany."""
    sellers = t.nation.select(supp_key=_.n_nationkey, supp_nation=_.n_name)
    buyers = t.nation.select(cust_key=_.n_nationkey, cust_nation=_.n_name)
    shipping = (
        t.supplier.join(t.lineitem, _.s_suppkey == t.lineitem.l_suppkey)
        .join(t.orders, _.l_orderkey == t.orders.o_orderkey)
        .join(t.customer, _.o_custkey == t.customer.c_custkey)
        .join(sellers, _.s_nationkey == sellers.supp_key)
        .join(buyers, _.c_nationkey == buyers.cust_key)
        .filter(
            ((_.supp_nation == "FRANCE") & (_.cust_nation == "GERMANY"))
            | ((_.supp_nation == "GERMANY") & (_.cust_nation == "FRANCE")),
            _.l_shipdate.between(ibis.date("1995-01-01"), ibis.date("1996-12-31")),
        )
    )
    keys = ("supp_nation", "cust_nation", "l_year")
    return (
        shipping.mutate(l_year=_.l_shipdate.year(), volume=_revenue())
        .group_by(*keys)
        .aggregate(revenue=_.volume.sum())
        .order_by(*keys)
    )


def q08(t: Tables) -> Expr:
    """Brazil's share of the American market in one kind of steel."""
    steel = t.part.filter(_.p_type == "ECONOMY ANODIZED STEEL")
    sellers = t.nation.select(seller_key=_.n_nationkey, nation=_.n_name)
    america = t.region.filter(_.r_name == "AMERICA")
    years = t.orders.filter(_.o_orderdate.between(ibis.date("1995-01-01"), ibis.date("1996-12-31")))
    sales = (
        steel.join(t.lineitem, _.p_partkey == t.lineitem.l_partkey)
        .join(t.supplier, _.l_suppkey == t.supplier.s_suppkey)
        .join(years, _.l_orderkey == years.o_orderkey)
        .join(t.customer, _.o_custkey == t.customer.c_custkey)
        .join(t.nation, _.c_nationkey == t.nation.n_nationkey)
        .join(america, _.n_regionkey == america.r_regionkey)
        .join(sellers, _.s_nationkey == sellers.seller_key)
        .mutate(o_year=_.o_orderdate.year(), volume=_revenue())
    )
    brazil = ibis.cases((_.nation == "BRAZIL", _.volume), else_=0)
    return sales.group_by("o_year").aggregate(mkt_share=brazil.sum() / _.volume.sum()).order_by("o_year")


def q09(t: Tables) -> Expr:
    """Profit on green parts by nation and year."""
    green = t.part.filter(_.p_name.like("%green%"))
    return (
        t.lineitem.join(green, _.l_partkey == green.p_partkey)
        .join(t.supplier, _.l_suppkey == t.supplier.s_suppkey)
        .join(
            t.partsupp,
            (t.lineitem.l_suppkey == t.partsupp.ps_suppkey) & (t.lineitem.l_partkey == t.partsupp.ps_partkey),
        )
        .join(t.orders, _.l_orderkey == t.orders.o_orderkey)
        .join(t.nation, _.s_nationkey == t.nation.n_nationkey)
        .mutate(nation=_.n_name, o_year=_.o_orderdate.year(), amount=_revenue() - _.ps_supplycost * _.l_quantity)
        .group_by("nation", "o_year")
        .aggregate(sum_profit=_.amount.sum())
        .order_by("nation", _.o_year.desc())
    )


def q10(t: Tables) -> Expr:
    """Customers who returned the most."""
    quarter = t.orders.filter(_between(_.o_orderdate, "1993-10-01", "1994-01-01"))
    returned = t.lineitem.filter(_.l_returnflag == "R")
    keys = ("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment")
    columns = ("c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment")
    return (
        t.customer.join(quarter, _.c_custkey == quarter.o_custkey)
        .join(returned, _.o_orderkey == returned.l_orderkey)
        .join(t.nation, _.c_nationkey == t.nation.n_nationkey)
        .group_by(*keys)
        .aggregate(revenue=_revenue().sum())
        .select(*columns)
        .order_by(_.revenue.desc())
        .limit(20)
    )


def q11(t: Tables) -> Expr:
    """Stock that matters in Germany."""
    germany = t.nation.filter(_.n_name == "GERMANY")
    stock = (
        t.partsupp.join(t.supplier, _.ps_suppkey == t.supplier.s_suppkey)
        .join(germany, _.s_nationkey == germany.n_nationkey)
        .mutate(worth=_.ps_supplycost * _.ps_availqty)
    )
    total = stock.aggregate(total=_.worth.sum()).total.as_scalar()
    by_part = stock.group_by("ps_partkey").aggregate(value=_.worth.sum())
    # A ten-thousandth of the total, without a product that needs more than 38 digits.
    return by_part.filter(_.value * 10_000 > total).order_by(_.value.desc())


def q12(t: Tables) -> Expr:
    """Do cheap ship modes delay critical orders?"""
    lines = t.lineitem.filter(
        _.l_shipmode.isin(["MAIL", "SHIP"]),
        _.l_commitdate < _.l_receiptdate,
        _.l_shipdate < _.l_commitdate,
        _between(_.l_receiptdate, "1994-01-01", "1995-01-01"),
    )
    urgent = _.o_orderpriority.isin(["1-URGENT", "2-HIGH"])
    return (
        t.orders.join(lines, _.o_orderkey == lines.l_orderkey)
        .group_by("l_shipmode")
        .aggregate(
            high_line_count=urgent.ifelse(1, 0).sum(),
            low_line_count=urgent.ifelse(0, 1).sum(),
        )
        .order_by("l_shipmode")
    )


def q13(t: Tables) -> Expr:
    """How many customers have how many orders."""
    ordinary = t.orders.filter(~_.o_comment.like("%special%requests%"))
    per_customer = (
        t.customer.left_join(ordinary, _.c_custkey == ordinary.o_custkey)
        .group_by("c_custkey")
        .aggregate(c_count=_.o_orderkey.count())
    )
    counted = per_customer.group_by("c_count").aggregate(custdist=_.count())
    return counted.order_by(_.custdist.desc(), _.c_count.desc())


def q14(t: Tables) -> Expr:
    """Share of promotion revenue in one month."""
    month = t.lineitem.filter(_between(_.l_shipdate, "1995-09-01", "1995-10-01"))
    sold = month.join(t.part, _.l_partkey == t.part.p_partkey)
    promotion = ibis.cases((_.p_type.like("PROMO%"), _revenue()), else_=0)
    return sold.aggregate(promo_revenue=promotion.sum() * 100 / _revenue().sum())


def q15(t: Tables) -> Expr:
    """The supplier of the quarter."""
    quarter = t.lineitem.filter(_between(_.l_shipdate, "1996-01-01", "1996-04-01"))
    revenue = quarter.group_by(supplier_no=_.l_suppkey).aggregate(total_revenue=_revenue().sum())
    top = revenue.filter(_.total_revenue == revenue.total_revenue.max().as_scalar())
    return (
        t.supplier.join(top, _.s_suppkey == top.supplier_no)
        .select("s_suppkey", "s_name", "s_address", "s_phone", "total_revenue")
        .order_by("s_suppkey")
    )


def q16(t: Tables) -> Expr:
    """How many suppliers without complaints offer each kind of part."""
    complained = t.supplier.filter(_.s_comment.like("%Customer%Complaints%"))
    wanted = t.part.filter(
        _.p_brand != "Brand#45",
        ~_.p_type.like("MEDIUM POLISHED%"),
        _.p_size.isin([49, 14, 23, 45, 19, 3, 36, 9]),
    )
    keys = ("p_brand", "p_type", "p_size")
    return (
        t.partsupp.join(wanted, _.ps_partkey == wanted.p_partkey)
        .filter(~_.ps_suppkey.isin(complained.s_suppkey))
        .group_by(*keys)
        .aggregate(supplier_cnt=_.ps_suppkey.nunique())
        .order_by(_.supplier_cnt.desc(), *keys)
    )


def q17(t: Tables) -> Expr:
    """What small orders of one kind of box bring in."""
    boxes = t.part.filter(_.p_brand == "Brand#23", _.p_container == "MED BOX")
    fifth = ibis.literal("0.2").cast("decimal(2, 1)")
    usual = t.lineitem.group_by(usual_part=_.l_partkey).aggregate(usual_quantity=_.l_quantity.mean() * fifth)
    small = (
        t.lineitem.join(boxes, _.l_partkey == boxes.p_partkey)
        .join(usual, _.l_partkey == usual.usual_part)
        .filter(_.l_quantity < _.usual_quantity)
    )
    return small.aggregate(avg_yearly=_.l_extendedprice.sum() / ibis.literal("7.0").cast("decimal(2, 1)"))


def q18(t: Tables) -> Expr:
    """Customers with very large orders."""
    large = t.lineitem.group_by("l_orderkey").having(_.l_quantity.sum() > 300).aggregate(total=_.l_quantity.sum())
    return (
        t.customer.join(t.orders, _.c_custkey == t.orders.o_custkey)
        .join(t.lineitem, _.o_orderkey == t.lineitem.l_orderkey)
        .filter(_.o_orderkey.isin(large.l_orderkey))
        .group_by("c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice")
        .aggregate(quantity=_.l_quantity.sum())
        .order_by(_.o_totalprice.desc(), "o_orderdate")
        .limit(100)
    )


def q19(t: Tables) -> Expr:
    """Revenue of three kinds of part that travel by air."""

    def kind(brand: str, containers: list[str], quantity: int, size: int) -> Expr:
        return (
            (_.p_brand == brand)
            & _.p_container.isin(containers)
            & _.l_quantity.between(quantity, quantity + 10)
            & _.p_size.between(1, size)
        )

    by_air = t.lineitem.filter(_.l_shipmode.isin(["AIR", "AIR REG"]), _.l_shipinstruct == "DELIVER IN PERSON")
    return (
        by_air.join(t.part, _.l_partkey == t.part.p_partkey)
        .filter(
            kind("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | kind("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | kind("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .aggregate(revenue=_revenue().sum())
    )


def q20(t: Tables) -> Expr:
    """Canadian suppliers with too many forest parts."""
    forest = t.part.filter(_.p_name.like("forest%"))
    half = ibis.literal("0.5").cast("decimal(2, 1)")
    shipped = (
        t.lineitem.filter(_between(_.l_shipdate, "1994-01-01", "1995-01-01"))
        .group_by(sold_part=_.l_partkey, sold_supplier=_.l_suppkey)
        .aggregate(half_sold=_.l_quantity.sum() * half)
    )
    stocked = t.partsupp.filter(_.ps_partkey.isin(forest.p_partkey))
    surplus = stocked.join(
        shipped, (stocked.ps_partkey == shipped.sold_part) & (stocked.ps_suppkey == shipped.sold_supplier)
    ).filter(_.ps_availqty > _.half_sold)
    canada = t.nation.filter(_.n_name == "CANADA")
    return (
        t.supplier.join(canada, _.s_nationkey == canada.n_nationkey)
        .filter(_.s_suppkey.isin(surplus.ps_suppkey))
        .select("s_name", "s_address")
        .order_by("s_name")
    )


def q21(t: Tables) -> Expr:
    """Saudi suppliers who alone kept an order waiting."""
    lines, others = t.lineitem, t.lineitem.view()
    late = lines.filter(_.l_receiptdate > _.l_commitdate)
    others_late = others.filter(_.l_receiptdate > _.l_commitdate)
    shared = late.semi_join(others, (late.l_orderkey == others.l_orderkey) & (late.l_suppkey != others.l_suppkey))
    alone = shared.anti_join(
        others_late, (shared.l_orderkey == others_late.l_orderkey) & (shared.l_suppkey != others_late.l_suppkey)
    )
    failed = t.orders.filter(_.o_orderstatus == "F")
    saudi = t.nation.filter(_.n_name == "SAUDI ARABIA")
    return (
        t.supplier.join(alone, _.s_suppkey == alone.l_suppkey)
        .join(failed, _.l_orderkey == failed.o_orderkey)
        .join(saudi, _.s_nationkey == saudi.n_nationkey)
        .group_by("s_name")
        .aggregate(numwait=_.count())
        .order_by(_.numwait.desc(), "s_name")
        .limit(100)
    )


def q22(t: Tables) -> Expr:
    """Rich customers who order nothing."""
    callers = t.customer.mutate(cntrycode=_.c_phone.substr(0, 2)).filter(
        _.cntrycode.isin(["13", "31", "23", "29", "30", "18", "17"])
    )
    usual = callers.filter(_.c_acctbal > 0).aggregate(usual=_.c_acctbal.mean())
    rich = callers.filter(_.c_acctbal > usual.usual.as_scalar())
    return (
        rich.anti_join(t.orders, rich.c_custkey == t.orders.o_custkey)
        .group_by("cntrycode")
        .aggregate(numcust=_.count(), totacctbal=_.c_acctbal.sum())
        .order_by("cntrycode")
    )


QUERIES: dict[int, Callable[[Tables], Expr]] = dict(
    enumerate(
        (q01, q02, q03, q04, q05, q06, q07, q08, q09, q10, q11, q12, q13, q14, q15, q16, q17, q18, q19, q20, q21, q22),
        start=1,
    )
)
