"""What a return, its buckets and its doubts are called; for command line and pages."""

BUCKETS = {
    "printed": "已印制",
    "refused": "上级退回",
    "missing": "未返回",
    "extra": "多出",
    "changed": "内容不同",
    "duplicate": "重复",
}
MEANINGS = {
    "printed": "登记为新的印制记录",
    "refused": "退回地市，本次申报结束",
    "missing": "有关数据包中还没有结果的，继续等待",
    "extra": "不是本单位发出的，不入账，由人核实",
    "changed": "与发出的不同，不入账，由人核实；证书数据库不改动",
    "duplicate": "以前或本文件中已有同样内容，不再处理",
}
DOUBTS = {
    "unknown": "不是本单位发出的",
    "number": "没有管理号的申报中，不能唯一确定是哪一行",
    "contradiction": "同一文件中有两种结果",
    "answered": "此前已有另一结果入账",
    "name": "姓名与发出的不同",
    "id_number": "证件号码与发出的不同",
    "serial": "证书编号已被使用",
    "certificate": "该行没有对应的证书",
}
STATES = {
    "RECEIVED": "等待（有关数据包正在发送）",
    "RECONCILED": "已对账，未入账",
    "APPLIED": "已入账",
    "HELD": "待人工处理，未入账",
    "RETURNED": "退回上级，不入账",
    "UNDONE": "已撤销",
}
LEVELS = {"": "", "late": "应催询", "alarm": "告警"}
