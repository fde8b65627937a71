package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

func TestSecretsAreRedacted(t *testing.T) {
	v := map[string]any{
		"Env":    map[string]any{"PATH": "/bin", "EMPTY": ""},
		"Config": map[string]any{"image": "web:1", "auth": map[string]any{"username": "me", "password": "hidden-1"}},
		"Meta":   map[string]any{"team": "shop", "API_KEY": "hidden-2", "db_secret": []string{"hidden-3"}},
		"Time":   int64(1795320000123456789), "Name": "web",
	}
	data, err := redactedJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{`"image": "web:1"`, `"team": "shop"`, "1795320000123456789", `"PATH": "(redacted)"`, `"EMPTY": ""`, `"username": "(redacted)"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden") || strings.Contains(text, "/bin") {
		t.Errorf("a secret stands there:\n%s", text)
	}
}

func TestABundleIsWholeOrNotThere(t *testing.T) {
	h := newHerd(t).ready()
	h.must("job", "run", "--detach", h.file("web.hcl", job("web", "service", 1, `stdout = "x"`)))
	path := filepath.Join(h.tmp, "d.tar.gz")
	x := h.run("operator", "debug", "--duration", "1s", "--output", path, "--agent", "n1", "--agent", "../nobody")
	if x.code != 0 || !strings.Contains(x.out, "1 thing could not be had") {
		t.Fatalf("exit %d\n%s", x.code, x.all())
	}
	files := untar(t, path)
	var names []string
	for name := range files {
		names = append(names, name[strings.Index(name, "/")+1:])
	}
	sort.Strings(names)
	want := "agents/n1-ID/agent.log agents/n1-ID/cpu.pprof agents/n1-ID/goroutines.txt agents/n1-ID/health.json agents/n1-ID/heap.pprof agents/n1-ID/host.json " +
		"agents/n1-ID/metrics-later.prom agents/n1-ID/metrics.prom agents/n1-ID/self.json " +
		"cluster/allocations.json cluster/evictions.json cluster/jobs.json cluster/leader.json cluster/members.json cluster/nodes.json cluster/raft.json " +
		"cluster/specifications.json errors.txt version.json"
	if got := strings.ReplaceAll(strings.Join(names, " "), "n1-"+h.idOf("n1")[:8], "n1-ID"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, text := range files {
		if strings.HasSuffix(name, "errors.txt") && !strings.Contains(text, `no agent is called "../nobody"`) {
			t.Errorf("errors.txt: %s", text)
		}
	}
	if _, err := os.Stat(path + ".part"); !os.IsNotExist(err) {
		t.Error("the unfinished archive is left:", err)
	}
	h.stop()
	if x := h.run("operator", "debug", "--output", h.tmp); x.code != 1 || !strings.Contains(x.err, "cannot reach the agent") {
		t.Errorf("without an agent: exit %d\n%s", x.code, x.all())
	}
}

// untar reads an archive whole.
func untar(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(zip); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[head.Name] = string(data)
	}
}
