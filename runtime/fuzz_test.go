package runtime_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drover-io/drover/runtime"
)

// FuzzRecord: whatever a record file holds, the runner opens, and moves aside what it cannot believe.
func FuzzRecord(f *testing.F) {
	for _, s := range []string{"", "{}", "null", "[]", `{"Sum":"00000000","Record":{}}`, `{"Sum":"00000000","Record":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "allocs", "x", "alloc.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := runtime.DefaultConfig()
		cfg.NodeID, cfg.Dir = "n", dir
		r, err := runtime.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if found := r.Found(); len(found) != 1 || found[0] != "x" {
			t.Fatalf("found %v", found)
		}
		if _, allocs := r.TakeReport(); len(allocs) == 0 {
			if _, err := os.Stat(path + ".corrupt"); err != nil {
				t.Fatalf("neither believed nor moved aside: %v", err)
			}
		}
	})
}

// FuzzExpand: nothing panics, and what has no expression of ours comes out as it went in.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "${", "${}", "$${attr.x}", "${attr.kernel.name}", `${env["A"]}`, "${NOMAD_X}", "${FOO:-x}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := runtime.Expand(testNode, map[string]string{"A": "1"}, in)
		if err == nil && !strings.Contains(in, "${") && out != in {
			t.Fatalf("%q became %q", in, out)
		}
	})
}
