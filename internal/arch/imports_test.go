package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/drover-io/drover"

// arrows lists, for every room, the rooms it may import: the table of ARCHITECTURE.md §2. A room that is not here does not exist.
var arrows = map[string][]string{
	"state":     {},
	"gossip":    {},
	"jobspecs":  {"state"},
	"sched":     {"state"},
	"runtime":   {"state"},
	"consensus": {"state"},
	"api":       {"state"},

	"runtime/containerd": {"runtime", "runtime/containerd/exitnote", "runtime/containerd/companion", "state"},
	"runtime/exec":       {"runtime", "state"},
	"runtime/fake":       {"runtime", "state"},

	"runtime/containerd/embedded":  {"runtime/containerd/exitnote", "runtime/containerd/companion"},
	"runtime/containerd/exitnote":  {},
	"runtime/containerd/companion": {},

	"agent":               {"state", "gossip", "jobspecs", "sched", "runtime", "runtime/containerd", "runtime/exec", "runtime/fake", "consensus", "api"},
	"agent/agenttest":     {"agent", "state", "gossip", "jobspecs", "sched", "runtime", "runtime/fake", "consensus", "api", "internal/simnet"},
	"cmd/drover":          {"agent", "api", "jobspecs", "state", "runtime", "runtime/containerd", "runtime/containerd/embedded", "runtime/exec", "runtime/fake"},
	"internal/simnet":     {},
	"internal/arch":       {},
	"internal/image":      {},
	"internal/testreport": {},
	"internal/nearest":    {},
	"internal/waitfor":    {},
	"internal/story":      {},
	"examples/hello":      {},
}

// leaves may be imported by every room.
var leaves = []string{"internal/nearest"}

// testArrows are what tests of a room may import beside it.
var testArrows = []string{"internal/simnet", "internal/story", "internal/image", "internal/waitfor", "runtime/fake", "runtime/containerd/embedded", "state", "agent/agenttest"}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImportsAreAStar(t *testing.T) {
	for _, p := range list(t) {
		room := strings.TrimPrefix(p.ImportPath, module+"/")
		if room == "e2e" || strings.HasPrefix(room, "e2e/") {
			continue // proofs on the outside: may see everything
		}
		allowed, ok := arrows[room]
		if !ok {
			t.Errorf("%s: no such room in ARCHITECTURE.md §2; add it to the table there and here, or put the code elsewhere", room)
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours && !slices.Contains(append(leaves, allowed...), to) {
				t.Errorf("%s imports %s: the table of ARCHITECTURE.md §2 has no such arrow", room, to)
			}
		}
		for _, imp := range append(p.TestImports, p.XTestImports...) {
			to, ours := strings.CutPrefix(imp, module+"/")
			if ours && to != room && !slices.Contains(allowed, to) && !slices.Contains(testArrows, to) {
				t.Errorf("tests of %s import %s: the table of ARCHITECTURE.md §2 has no such arrow", room, to)
			}
		}
	}
}

func TestRootHoldsOnlyWhatIsNamed(t *testing.T) {
	allowed := strings.Fields(`README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md LICENSE Makefile go.mod go.sum
		cmd agent consensus gossip sched runtime jobspecs state api internal e2e examples docs dist bin
		.git .gitignore .gitattributes .golangci.yml .editorconfig .ci`)
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s stands at the root and is not in the list", e.Name())
		}
	}
}
