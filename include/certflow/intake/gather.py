"""Files become submissions: one per exam and city, whatever way a city zipped them (DOMAIN §2).

A zip may hold workbook and photos, one of the two, or several exams; wrapped in folders, or loose. Workbook
and photos meet by what their names say (month, code, exam, city); every member of every archive ends in
exactly one submission. Nothing is judged here.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from certflow import keys, naming, vault
from certflow.errors import DigestMismatch, SubmissionError
from certflow.intake import archive, workbook
from certflow.intake.submission import Archive, Entry, Measures, Received, Sheet, Submission
from certflow.reference import Reference
from certflow.settings import Limits, Settings

Key = tuple[str, ...]
"""What a name says but for its count: month, code, exam, city; or the folded text where it does not parse."""
Member = tuple[Received, Entry]


@dataclass(slots=True)
class _Group:
    """Photos that lie in one folder of one archive."""

    archive: int
    folder: str
    photos: list[Member]
    key: Key | None
    """By the innermost folder whose name parses, else by the archive's name where it holds no workbook."""
    named: naming.Parsed | None
    stem: str


@dataclass(slots=True)
class _Draft:
    """A submission in the making."""

    archive: int
    stem: str
    parsed: naming.Parsed
    key: Key
    book: Member | None = None
    groups: list[_Group] = field(default_factory=list)
    loose: list[Member] = field(default_factory=list)
    others: list[Member] = field(default_factory=list)
    borrowed: list[Member] = field(default_factory=list)
    folder_differs: bool = False
    archive_nameless: bool = False
    """The only workbook of a zip whose own name says nothing."""
    measures: Measures = field(default_factory=dict)
    sheet: Sheet | None = None

    @property
    def folder(self) -> str:
        """Folder of the workbook inside its archive."""
        return self.book[1].name.rpartition("/")[0] if self.book else ""


def gather(files: Sequence[Received], settings: Settings, reference: Reference) -> list[Submission]:
    """Submissions of these files, judged by nobody yet; every file is in at least one (name None: nothing parses).

    File columns beside those of `archive.unpack` and `workbook.read_sheet`: `zip_wrapper` (folders around the
    content, Z41), `name_folder` (photo folder and workbook disagree, Z43), `name_archive` (the zip is named for
    something that is not in it), `name_tolerated` with its detail (only brackets, width or count differ; photos
    beside the workbook, Z42; a zip with any name), `book_second` (workbooks of the same name,
    Z45), `nil_month` and `nil_city` (a nil report; its `file_fault` is None). `reference` resolves city names, so
    that 济南 and 济南市 meet.
    """
    nil = {index: found for index, file in enumerate(files) if (found := naming.parse_nil(file.name)) is not None}
    zips = [file for index, file in enumerate(files) if index not in nil]
    with ThreadPoolExecutor(max_workers=max(1, settings.photo_threads)) as pool:
        archives = list(pool.map(lambda file: _open(file, settings.limits), zips))
        drafts = _draft(archives, reference)
        for draft, (sheet, measures) in zip(
            drafts, pool.map(lambda draft: _read(draft, settings.limits), drafts), strict=True
        ):
            draft.sheet = sheet
            draft.measures |= measures
    _share_loose(drafts)
    made = [_finish(draft, archives) for draft in drafts]
    made += [_nil(files[index], *found) for index, found in nil.items()]
    order = {(file.path, file.name): index for index, file in reversed(list(enumerate(files)))}
    return sorted(made, key=lambda one: order[one.files[0].path, one.files[0].name])


def gather_kept(files: Sequence[Received], settings: Settings, reference: Reference) -> list[Submission]:
    """As `gather`, of files in our store; raises as `require_whole`."""
    require_whole(files)
    return gather(files, settings, reference)


def complete(
    photos: Submission, book: tuple[Received, Entry], rows: Container[int], limits: Limits
) -> Submission | None:
    """Photos that came alone, with the rows of a workbook judged before that they are named for (Z45); None: for none.

    Only `rows` count, as Excel shows them. Raises as `require_whole`.
    """
    require_whole([book[0]])
    sheet, measures = workbook.read_sheet(archive.read_entry(*book), limits)
    if sheet is None:
        return None
    says = {key for _, entry in photos.photos for key in _says(entry)}
    lines = [
        line
        for line, (row, *named) in enumerate(
            zip(sheet.row_numbers, sheet.values["ZJHM"], sheet.values["ZP"], strict=True)
        )
        if row in rows and not says.isdisjoint(_photo_keys(*named))
    ]
    if not lines:
        return None
    part = replace(
        sheet,
        row_numbers=[sheet.row_numbers[line] for line in lines],
        values={name: [texts[line] for line in lines] for name, texts in sheet.values.items()},
        kinds={name: [kinds[line] for line in lines] for name, kinds in sheet.kinds.items()},
    )
    return replace(photos, sheet=part, measures=photos.measures | measures, earlier_book=book)


def require_whole(files: Iterable[Received]) -> None:
    """DigestMismatch, SealBroken when one is no longer what was received.

    No city is told that its file or photo is damaged where our copy is.
    """
    for file in files:
        here = file.path.is_file()
        if not here or vault.sha256(file.path) != file.sha256:
            what = "的内容与收到时不同" if here else "不在了"
            raise DigestMismatch(
                f"原件 {file.sha256[:12]} {what}，它和同一考试的文件未作判定：请从备份取回该文件，放回原处后重新运行"
                "（certflow doctor 列出所有损坏的文件）"
            )


def _open(file: Received, limits: Limits) -> Archive:
    """A zip as a rule; our own 退回单 may come back corrected as it is, without one."""
    if "slip" in naming.parse(file.name).notes and file.name.lower().endswith((".xlsx", ".xls")):
        return archive.single(file, limits)
    return archive.unpack(file, limits)


def _nil(file: Received, month: object, city: str) -> Submission:
    stem = file.name.rpartition(".")[0]
    measures: Measures = {"file_fault": None, "file_detail": "", "nil_month": str(month), "nil_city": city}
    return Submission((file,), None, stem, None, None, None, (), measures)


def _key(parsed: naming.Parsed, stem: str, reference: Reference) -> Key:
    if parsed.name is None:
        return (naming.fold(stem).casefold(),)
    name = parsed.name
    city = reference.city_named(name.city)
    return str(name.month), name.exam_code.lstrip("0"), naming.fold(name.exam_name), city.name if city else name.city


def _stem(base: str) -> str:
    """A file's name without its extension; the last dot counts (an exam's name may hold one)."""
    head, dot, extension = base.strip().rpartition(".")
    return head if dot and len(extension) <= 5 and extension.isascii() else base.strip()


def _draft(archives: Sequence[Archive], reference: Reference) -> list[_Draft]:
    drafts: list[_Draft] = []
    groups: list[_Group] = []
    for index, one in enumerate(archives):
        books = [entry for entry in one.entries if entry.role == "workbook"]
        for entry in books:
            stem = _stem(entry.base_name)
            parsed = naming.parse(entry.base_name)
            drafts.append(_Draft(index, stem, parsed, _key(parsed, stem, reference), (one.received, entry)))
        _compare_names(one.received.name, drafts[len(drafts) - len(books) :], reference)
        groups += _groups(index, one, reference, alone=not books)
    by_key: dict[Key, list[_Draft]] = defaultdict(list)
    for draft in drafts:
        by_key[draft.key].append(draft)
    for same in by_key.values():
        if len(same) > 1:  # Z45: one exam's rows over several workbooks
            for draft in same:
                draft.measures["book_second"] = len(same)
    for group in groups:
        _place(group, [draft for draft in drafts if draft.archive == group.archive], by_key, drafts)
    for index, one in enumerate(archives):
        _leave_rest(index, one, drafts, reference)
    return drafts


def _compare_names(name: str, drafts: Sequence[_Draft], reference: Reference) -> None:
    """Z43: a zip that is named for one month, exam and city and holds others, or whose name says nothing."""
    outer = naming.parse(name)
    if outer.name is None:
        for draft in drafts if len(drafts) == 1 else ():
            draft.archive_nameless = draft.parsed.name is not None
    elif all(draft.parsed.name is not None for draft in drafts):
        key = _key(outer, "", reference)
        if all(draft.key != key for draft in drafts):
            for draft in drafts:
                draft.measures |= {"name_archive": 1, "name_archive_detail": _stem(name)}


def _groups(index: int, one: Archive, reference: Reference, *, alone: bool) -> list[_Group]:
    by_folder: dict[str, list[Member]] = defaultdict(list)
    for entry in one.entries:
        if entry.role == "photo":
            by_folder[entry.name.rpartition("/")[0]].append((one.received, entry))
    groups = []
    for folder, photos in by_folder.items():
        group = _Group(index, folder, photos, None, None, "")
        names = [*reversed(folder.split("/")), *([_stem(one.received.name)] if alone else [])]
        for name in filter(None, names):
            parsed = naming.parse(name)
            if parsed.name is not None:
                group.named, group.stem, group.key = parsed, name, _key(parsed, name, reference)
                break
        groups.append(group)
    return groups


def _place(group: _Group, here: list[_Draft], by_key: Mapping[Key, list[_Draft]], drafts: list[_Draft]) -> None:
    """Give a group of photos to the draft whose workbook it belongs to."""
    matching = by_key.get(group.key, []) if group.key is not None else []
    draft = next((one for one in matching if one.archive == group.archive), None)
    if draft is None and len(here) == 1 and here[0].book is not None:
        draft = here[0]  # Z42, Z43: the only workbook in the archive, even where the folder names one in another
        draft.folder_differs |= group.key is not None or (group.folder != "" and not _beside(group, draft))
    if draft is None and matching:
        draft = matching[0]
    if draft is None and group.key is None:
        near = [one for one in here if one.book is not None and _beside(group, one)]
        if len(near) == 1:
            draft = near[0]
        elif here:
            here[0].loose += group.photos  # shared out by ID number once the sheets are read
            return
    if draft is None:
        stem = group.stem or _stem(group.photos[0][0].name)
        parsed = group.named or naming.parse(stem)
        draft = next((one for one in drafts if one.book is None and one.key == group.key and group.key), None)
        if draft is None:
            draft = _Draft(group.archive, stem, parsed, group.key or (stem,))
            drafts.append(draft)
    draft.groups.append(group)


def _beside(group: _Group, draft: _Draft) -> bool:
    """Photos in the workbook's own folder, or in one called photos right below it (Z42)."""
    if group.folder == draft.folder:
        return True
    parent, _, last = group.folder.rpartition("/")
    return parent == draft.folder and last.strip().lower() in ("照片", "电子照片", "相片", "photo", "photos")


def _leave_rest(index: int, one: Archive, drafts: list[_Draft], reference: Reference) -> None:
    """What is neither workbook nor photo goes with the archive's first submission; a broken archive is one."""
    owner = next((draft for draft in drafts if draft.archive == index), None) or next(
        (draft for draft in drafts if any(group.archive == index for group in draft.groups)), None
    )
    if owner is None:
        stem = _stem(one.received.name)
        parsed = naming.parse(one.received.name)
        owner = _Draft(index, stem, parsed, _key(parsed, stem, reference))
        drafts.append(owner)
    owner.others += [(one.received, entry) for entry in one.entries if entry.role not in ("workbook", "photo")]


def _read(draft: _Draft, limits: Limits) -> tuple[Sheet | None, Measures]:
    if draft.book is None:
        return None, {"book_fault": None, "book_detail": ""}
    try:
        data = archive.read_entry(*draft.book)
    except SubmissionError as error:
        return None, {"book_fault": "BOOK-DAMAGED", "book_detail": error.detail}
    return workbook.read_sheet(data, limits)


def _share_loose(drafts: Sequence[_Draft]) -> None:
    """Photos without a folder in an archive of several exams go to the exams whose sheets name them (Z44, D25).

    The first of them owns the photo, one that can be recorded before one that cannot; the others borrow it.
    """
    for draft in drafts:
        if not draft.loose:
            continue
        there = [one for one in drafts if one.archive == draft.archive and one.sheet is not None]
        there.sort(key=lambda one: one.parsed.name is None)
        named = [(one, _named_photos(one.sheet)) for one in there]
        loose, draft.loose = draft.loose, []
        for photo in loose:
            says = _says(photo[1])
            owner, *others = [one for one, names in named if names & says] or [draft]
            owner.groups.append(_Group(draft.archive, photo[1].name.rpartition("/")[0], [photo], None, None, ""))
            for other in others:
                other.borrowed.append(photo)


def _named_photos(sheet: Sheet | None) -> set[str]:
    if sheet is None:
        return set()
    return set().union(*map(_photo_keys, sheet.values["ZJHM"], sheet.values["ZP"]))


def _photo_keys(number: str, name: str) -> set[str]:
    """What the photo of a row may be called: its ID number, or the name the row gives it (D36)."""
    return {keys.id_key(number), _file_key(name)} - {""}


def _says(photo: Entry) -> set[str]:
    """What a photo's name may mean, to be found among `_photo_keys`."""
    stem = _stem(photo.base_name)
    return {keys.id_key(stem), *keys.id_keys_in(stem), _file_key(photo.base_name)}


def _file_key(name: str) -> str:
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    return last.strip().casefold()


def _finish(draft: _Draft, archives: Sequence[Archive]) -> Submission:
    photos = [photo for group in draft.groups for photo in group.photos]
    indexes = dict.fromkeys([draft.archive, *(group.archive for group in draft.groups)])
    if draft.book is None and draft.groups:
        indexes = dict.fromkeys(group.archive for group in draft.groups)
    measures: Measures = {}
    for index in indexes:
        for column, value in archives[index].measures.items():
            if isinstance(value, int) and isinstance(before := measures.get(column), int):
                measures[column] = before + value if column.startswith("zip_") else before
            elif measures.get(column) in (None, "", 0):
                measures[column] = value
    measures |= draft.measures
    parsed = draft.parsed
    named = next((group.named for group in draft.groups if group.named is not None), None)
    if parsed.name is None and named is not None:
        parsed = named
        draft.folder_differs = True
    measures["name_folder"] = int(draft.folder_differs)
    measures["zip_wrapper"] = int(_wrapped(draft))
    if detail := _tolerated(draft):
        measures |= {"name_tolerated": 1, "name_tolerated_detail": detail}
    return Submission(
        files=tuple(archives[index].received for index in indexes),
        name=parsed.name,
        stem=draft.stem,
        workbook=draft.book[1] if draft.book else None,
        workbook_file=draft.book[0] if draft.book else None,
        sheet=draft.sheet,
        photos=tuple(photos),
        measures=measures,
        others=tuple(draft.others),
        earlier_photos=tuple(draft.borrowed),
    )


def _wrapped(draft: _Draft) -> bool:
    """Z41: the workbook, or a photo folder, does not lie at the top of its archive."""
    if draft.book is not None and "/" in draft.book[1].name:
        return True
    return any(group.key is not None and "/" in group.folder for group in draft.groups)


def _tolerated(draft: _Draft) -> str:
    """Z42, Z43: what was overlooked about where the photos lie and what the zip is called."""
    if draft.book is None or draft.folder_differs:
        return ""
    if any(group.named is None for group in draft.groups):
        return "照片没有放入同名文件夹"
    if any(group.stem.strip() != draft.stem for group in draft.groups if group.stem):
        return "照片文件夹与表格名称的写法或人数不同"
    if draft.archive_nameless:
        return "压缩包未按规范命名"
    return ""
