package runtime

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/drover-io/drover/internal/nearest"
	"github.com/drover-io/drover/state"
)

// expression is ${name}, ${root.name} or ${root["name"]}; two dollars in front keep it as it is, without the first. What looks
// otherwise, such as the shell's ${NAME:-default}, is no expression of ours.
var expression = regexp.MustCompile(`\$?\$\{\s*([A-Za-z_][A-Za-z0-9_.\-]*)\s*(?:\[\s*"([^"\]]*)"\s*\])?\s*\}`)

// scope is what expressions can refer to, by full name: "attr.cpu.arch", "node.unique.name", "meta.rack", "env.PATH",
// "NOMAD_PORT_http".
type scope map[string]string

func newScope(node *state.Node, env map[string]string) scope {
	s := scope{
		"node.unique.id":   node.ID,
		"node.unique.name": node.Name,
		"node.datacenter":  node.Datacenter,
		"node.region":      node.Region,
		"node.pool":        node.NodePool,
		"node.class":       node.NodeClass,
	}
	for k, v := range node.Attributes {
		s["attr."+k] = v
	}
	for k, v := range node.Meta {
		s["meta."+k] = v
	}
	for k, v := range env {
		s["env."+k] = v
		if ours(k) {
			s[k] = v
		}
	}
	return s
}

// ours reports whether a variable may be named without "env.".
func ours(name string) bool {
	return strings.HasPrefix(name, envPrefixes[0]) || strings.HasPrefix(name, envPrefixes[1])
}

// known reports whether a name begins like something that must resolve. Anything else is left to the program it is meant for.
func known(name string) bool {
	root, _, dotted := strings.Cut(name, ".")
	switch root {
	case "node", "attr", "meta", "env":
		return dotted
	}
	return !dotted && ours(name)
}

// expand replaces the expressions in a string. An expression that should resolve and does not is an error that names it and
// the nearest name there is: starting again here cannot help.
func (s scope) expand(in string) (string, error) {
	if !strings.Contains(in, "${") {
		return in, nil
	}
	var failed error
	out := expression.ReplaceAllStringFunc(in, func(m string) string {
		parts := expression.FindStringSubmatch(m)
		name := parts[1]
		if strings.HasSuffix(strings.TrimRight(m, " \t}"), "]") {
			name += "." + parts[2]
		}
		if !known(name) {
			return m
		}
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		if v, ok := s.lookup(name); ok {
			return v
		}
		if failed == nil {
			failed = s.unresolved(name)
		}
		return m
	})
	return out, failed
}

// lookup finds a value; labels and keys may be written as in the job or as in the environment.
func (s scope) lookup(name string) (string, bool) {
	v, ok := s[name]
	if !ok && ours(name) {
		v, ok = s[cleanName(name)]
	}
	return v, ok
}

func (s scope) unresolved(name string) error {
	if near := nearest.Name(name, slices.Sorted(maps.Keys(s))); near != "" {
		return fmt.Errorf("${%s} is not known on this node, did you mean ${%s}: %w", name, near, ErrNotRetryable)
	}
	return fmt.Errorf("${%s} is not known on this node: %w", name, ErrNotRetryable)
}

// expandAll replaces the expressions in all strings of a JSON value; at names the place in errors.
func (s scope) expandAll(v any, at string) (any, error) {
	switch v := v.(type) {
	case string:
		out, err := s.expand(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return out, nil
	case []string:
		return expandList(s, v, at)
	case []any:
		return expandList(s, v, at)
	case []map[string]any:
		return expandList(s, v, at)
	case map[string]string:
		return expandMap(s, v, at)
	case map[string]any:
		return expandMap(s, v, at)
	}
	return v, nil
}

func expandList[T any](s scope, in []T, at string) (any, error) {
	out := make([]T, len(in))
	for i, e := range in {
		v, err := s.expandAll(any(e), fmt.Sprintf("%s[%d]", at, i))
		if err != nil {
			return nil, err
		}
		out[i], _ = v.(T)
	}
	return out, nil
}

func expandMap[T any](s scope, in map[string]T, at string) (any, error) {
	out := make(map[string]T, len(in))
	for _, k := range slices.Sorted(maps.Keys(in)) {
		v, err := s.expandAll(any(in[k]), at+"."+k)
		if err != nil {
			return nil, err
		}
		out[k], _ = v.(T)
	}
	return out, nil
}
