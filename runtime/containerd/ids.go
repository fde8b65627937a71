package containerd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/drover-io/drover/runtime"
)

// Labels of our own beside the runtime's.
const (
	labelBoot = "drover.boot" // the kernel's boot ID at creation: a container of an earlier boot did not fail, its machine went
	labelSpec = "drover.spec" // hash of what was asked for, for people who compare
)

// maxIdentifier is containerd's limit for the name of a container.
const maxIdentifier = 76

// containerID names the container of a task. The alloc's ID comes first so that a listing groups by alloc. Task names that
// containerd would refuse, or that are too long, are shortened and told apart by a hash.
func containerID(id runtime.TaskID) string {
	plain := id.AllocID + "-" + id.Task
	if len(id.AllocID) == 36 && len(plain) <= maxIdentifier && isIdentifier(id.AllocID) && isIdentifier(id.Task) {
		return plain
	}
	sum := sha256.Sum256([]byte(id.AllocID + "/" + id.Task))
	hash := "x" + hex.EncodeToString(sum[:8])
	return slug(id.AllocID, 36) + "-" + slug(id.Task, 20) + "." + hash
}

// isIdentifier follows containerd's pkg/identifiers: words of letters and digits with single ". _ -" between them.
func isIdentifier(s string) bool {
	word := false
	for _, r := range s {
		switch {
		case isWordRune(r):
			word = true
		case strings.ContainsRune("._-", r) && word:
			word = false
		default:
			return false
		}
	}
	return word
}

func isWordRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// slug keeps the letters and digits of s, at most n, with a dash for each run of others.
func slug(s string, n int) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return !isWordRune(r) })
	out := strings.Join(words, "-")
	if len(out) > n {
		out = strings.TrimRight(out[:n], "-")
	}
	if out == "" {
		return "t"
	}
	return out
}

// specHash tells what was asked for: the configuration, the user and the limits. The environment is left out, because it may hold
// what changes from start to start.
func specHash(spec runtime.TaskSpec) string {
	b, err := json.Marshal(struct {
		Config map[string]any
		User   string
		Limits runtime.Limits
	}{spec.Config, spec.User, spec.Limits})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func readBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot ID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// keyedLock is a mutex per name. Names that nobody holds or waits for cost nothing.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]*keyedEntry
}

type keyedEntry struct {
	sync.Mutex
	users int
}

// lock waits for the name and returns what releases it.
func (k *keyedLock) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyedEntry{}
	}
	e := k.held[name]
	if e == nil {
		e = &keyedEntry{}
		k.held[name] = e
	}
	e.users++
	k.mu.Unlock()
	e.Lock()
	return func() {
		e.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.users--; e.users == 0 {
			delete(k.held, name)
		}
	}
}
