"""check_page.py FILE: the sections of a report, and what is wrong with it as HTML."""
import html.parser
import re
import sys

VOID = {"meta", "img", "br", "link", "input", "hr"}
KNOWN = set("html head meta title style body header div i u h1 h2 p nav a main section pre table caption thead tbody "
            "tr th td small b span figure figcaption svg path rect text g img button script".split())


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.faults, self.sections, self.ids, self.scripts = [], [], [], set(), 0

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name.startswith("on") or name == "href" and not value.startswith("#"):
                self.faults.append(f"{tag} has {name}={value}")
            if name == "src" and not value.startswith("data:image/jpeg;base64,"):
                self.faults.append(f"{tag} fetches {value[:60]}")
            if name == "id" and value in self.ids:
                self.faults.append(f"two elements are {value}")
            if name == "id":
                self.ids.add(value)
        if tag not in KNOWN:
            self.faults.append(f"element {tag}")
        self.scripts += tag == "script"
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at line {self.getpos()[0]}")


text = open(sys.argv[1], "rb").read().decode("utf-8")
page = Page()
page.feed(text)
page.close()
if page.open or page.scripts != 1:
    page.faults.append(f"open at the end: {page.open}; {page.scripts} scripts")
if re.search(r"https?://|[\x00-\x08\x0b-\x1f]", text.split("<script>")[0]):
    page.faults.append("an address, or a control character")
if re.search(r"\b(nan|inf)\b", re.sub(r'<title>.*?</title>|title="[^"]*"', "", text.split("<main>")[1]).split("<script>")[0]):
    page.faults.append("a figure that is none")
print(" ".join(page.sections))
for fault in page.faults[:5]:
    print("FAULT:", fault)
