"""The states of a delivery in the words of DOMAIN §5; the graph itself stands in `registry.schema.TRANSITIONS`."""

WORDS = {
    "AWAITING": "待印制",
    "PRINTED": "已印制",
    "PUSHED": "已推送EMS",
    "COLLECTED": "已收寄",
    "UNDERWAY": "派送中",
    "SIGNED": "已签收",
    "RETURNED": "退回",
    "PICKUP": "转现场领取",
    "WITHHELD": "暂扣",
    "KEPT": "保管中",
    "EXPIRED": "超期",
    "HANDED": "已领取",
}
STATES = {word: state for state, word in WORDS.items()}

MAIL, PICKUP = "mail", "pickup"
WAYS = {MAIL: "邮寄", PICKUP: "现场领取"}

TRACKED = ("COLLECTED", "UNDERWAY", "SIGNED", "RETURNED")
"""What a file of EMS may tell."""
BY_HAND = ("WITHHELD", "KEPT", "PICKUP", "HANDED", "SIGNED")
"""What a person may decide."""
AT_DESK = ("KEPT", "PICKUP", "WITHHELD", "EXPIRED")
"""Paper that lies with the city."""
