package arch

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	mdFence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	mdCode    = regexp.MustCompile("`[^`\n]*`")
)

// TestLinks follows every link of every page: to a file that is there, to a heading that the page has. Addresses of the web are only
// checked for their form.
func TestLinks(t *testing.T) {
	pages := markdown(t)
	if len(pages) < 10 {
		t.Fatalf("found %d pages only", len(pages))
	}
	for name, text := range pages {
		for _, target := range links(text) {
			if strings.Contains(target, "://") {
				if u, err := url.Parse(target); err != nil || u.Scheme != "https" || u.Host == "" {
					t.Errorf("%s: link %s: want https://host/…", name, target)
				}
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			at := path.Join(path.Dir(name), file)
			if file == "" {
				at = name
			}
			if _, err := os.Stat(filepath.Join(root(t), at)); err != nil {
				t.Errorf("%s: link %s leads nowhere: there is no %s", name, target, at)
				continue
			}
			if anchor != "" && !anchors(pages[at])[anchor] {
				t.Errorf("%s: link %s: %s has no heading #%s", name, target, at, anchor)
			}
		}
	}
}

// TestBook: the book's first page leads to every other.
func TestBook(t *testing.T) {
	pages := markdown(t)
	listed := map[string]bool{"docs/README.md": true}
	for _, target := range links(pages["docs/README.md"]) {
		file, _, _ := strings.Cut(target, "#")
		listed[path.Join("docs", file)] = true
	}
	for name := range pages {
		if path.Dir(name) == "docs" && !listed[name] {
			t.Errorf("%s is not in the contents, docs/README.md", name)
		}
	}
}

func TestAnchors(t *testing.T) {
	got := anchors("# A `job plan`, and more\n## Same\n## Same\n")
	for _, want := range []string{"a-job-plan-and-more", "same", "same-1"} {
		if !got[want] {
			t.Errorf("no anchor %q in %v", want, got)
		}
	}
	if l := links("[a](b.md#c) `[no](x)`\n```\n[no](y)\n```\n"); len(l) != 1 || l[0] != "b.md#c" {
		t.Errorf("links %v", l)
	}
}

// markdown is every page of the repository, by its path.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	top, pages := root(t), map[string]string{}
	err := filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && at != top && (name == "testdata" || name == "bin" || name == "node_modules" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".md") {
			return nil
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, at)
		pages[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// links are the targets of a page's links, those in code left out.
func links(text string) []string {
	text = mdCode.ReplaceAllString(mdFence.ReplaceAllString(text, ""), "`")
	var all []string
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// anchors are the names of a page's headings, by GitHub's rule: lower case, spaces to dashes, punctuation dropped, a repeated one
// numbered.
func anchors(text string) map[string]bool {
	seen := map[string]bool{}
	for _, m := range mdHeading.FindAllStringSubmatch(mdFence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127 && !strings.ContainsRune("…→“”‘’×·≤≥–—", r):
				b.WriteRune(r)
			}
		}
		slug, name := b.String(), b.String()
		for n := 1; seen[name]; n++ {
			name = slug + "-" + string(rune('0'+n%10))
		}
		seen[name] = true
	}
	return seen
}
