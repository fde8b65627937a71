package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/drover-io/drover/internal/nearest"
)

// reader takes one value of a config block over, or says why not.
type reader func(v any) error

// maxList and maxText bound what one value of a config block may be.
const (
	maxList = 1000
	maxText = 128 << 10
)

func text(to *string) reader {
	return func(v any) (err error) { *to, err = asString(v); return err }
}

func flag(to *bool) reader {
	return func(v any) (err error) { *to, err = asBool(v); return err }
}

func texts(to *[]string) reader {
	return func(v any) (err error) { *to, err = asStrings(v); return err }
}

func textMap(to *map[string]string) reader {
	return func(v any) (err error) { *to, err = asStringMap(v); return err }
}

// number takes a whole number within bounds.
func number(to *int64, low, high int64) reader {
	return func(v any) (err error) {
		n, err := asInt(v)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("want %d to %d, not %d", low, high, n)
		}
		*to = n
		return err
	}
}

// size takes bytes, or text with a unit: 64m, 1.5GiB.
func size(to *int64) reader {
	return func(v any) (err error) { *to, err = asSize(v); return err }
}

// oneOf takes a word of a list.
func oneOf(to *string, words ...string) reader {
	return func(v any) (err error) {
		if *to, err = asString(v); err == nil && !slices.Contains(words, *to) {
			err = fmt.Errorf("want one of %s, not %q", quoted(words), *to)
		}
		return err
	}
}

func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return strings.Join(list, ", ")
}

// absolute takes a path.
func absolute(to *string) reader {
	return func(v any) (err error) {
		if *to, err = asString(v); err == nil && !strings.HasPrefix(*to, "/") {
			err = fmt.Errorf("%q is not an absolute path", *to)
		}
		return err
	}
}

// duration takes "90s".
func duration(to *time.Duration) reader {
	return func(v any) error {
		s, err := asString(v)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a duration such as \"5m\"", s)
		}
		*to = d
		return nil
	}
}

// readBlock reads the attributes of a block within the config block.
func readBlock(block map[string]any, fields map[string]reader) error {
	var errs []error
	for _, key := range sortedKeys(block) {
		read, ok := fields[key]
		if !ok {
			errs = append(errs, unknownField(key, slices.Sorted(maps.Keys(fields))))
			continue
		}
		if err := read(block[key]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

func unknownField(key string, known []string) error {
	if near := nearest.Name(key, known); near != "" {
		return fmt.Errorf("unknown key %q; did you mean %q?", key, near)
	}
	return fmt.Errorf("unknown key %q; known are %s", key, strings.Join(known, ", "))
}

// oneBlock takes a block that may be there once.
func oneBlock(fields map[string]reader) reader {
	return func(v any) error {
		blocks, err := asBlocks(v)
		if err != nil {
			return err
		}
		if len(blocks) != 1 {
			return fmt.Errorf("want one block, not %d", len(blocks))
		}
		return readBlock(blocks[0], fields)
	}
}

// asBlocks takes blocks as HCL gives them (a list of objects), and as JSON does (that, or one object).
func asBlocks(v any) ([]map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}, nil
	case map[string]string:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = e
		}
		return []map[string]any{m}, nil
	case []map[string]any:
		return v, checkLength(len(v))
	case []any:
		if err := checkLength(len(v)); err != nil {
			return nil, err
		}
		out := make([]map[string]any, 0, len(v))
		for i, e := range v {
			m, ok := e.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("element %d: want a block, not %s", i+1, kindOf(e))
			}
			out = append(out, m)
		}
		return out, nil
	}
	return nil, fmt.Errorf("want a block, not %s", kindOf(v))
}

func checkLength(n int) error {
	if n > maxList {
		return fmt.Errorf("at most %d, there are %d", maxList, n)
	}
	return nil
}

// kindOf names what was given as a job file's author would.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case bool:
		return "true or false"
	case int, int64, float64, json.Number:
		return "a number"
	case []any, []string, []map[string]any:
		return "a list"
	case map[string]any, map[string]string:
		return "a block"
	}
	return fmt.Sprintf("%T", v)
}

// asSize reads a number of bytes. Units are powers of 1024, as Docker takes them.
func asSize(v any) (int64, error) {
	s, ok := v.(string)
	if !ok {
		n, err := asInt(v)
		if err == nil && n < 0 {
			err = fmt.Errorf("want a size, not %d", n)
		}
		return n, err
	}
	digits := strings.TrimRightFunc(strings.TrimSpace(s), func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == ' ' })
	unit := strings.ToLower(strings.TrimSpace(strings.TrimSpace(s)[len(digits):]))
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30}[unit]
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || f < 0 || math.IsNaN(f) || f*float64(int64(1)<<shift) >= 1<<53 {
		return 0, fmt.Errorf("%q is not a size such as \"64m\" or a number of bytes", s)
	}
	return int64(f * float64(int64(1)<<shift)), nil
}

func asString(v any) (string, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Errorf("want text, not %s", kindOf(v))
	case len(s) > maxText:
		return "", fmt.Errorf("longer than %d bytes", maxText)
	case strings.ContainsRune(s, 0):
		return "", errors.New("holds a zero byte")
	}
	return s, nil
}

func asBool(v any) (bool, error) {
	switch b := v.(type) {
	case bool:
		return b, nil
	case string:
		if b == "true" || b == "false" {
			return b == "true", nil
		}
	}
	return false, fmt.Errorf("want true or false, not %s", shown(v))
}

func asInt(v any) (int64, error) {
	switch n := v.(type) {
	case int:
		return int64(n), nil
	case int64:
		return n, nil
	case float64: // a number that came through JSON
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), nil
		}
	case json.Number:
		return asInt(string(n))
	case string: // an expression that was resolved
		if i, err := strconv.ParseInt(n, 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, fmt.Errorf("want a whole number, not %s", shown(v))
}

func asStrings(v any) ([]string, error) {
	switch list := v.(type) {
	case []string:
		return list, checkLength(len(list))
	case []any:
		if err := checkLength(len(list)); err != nil {
			return nil, err
		}
		out := make([]string, 0, len(list))
		for i, e := range list {
			s, err := asText(e)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i+1, err)
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("want a list of texts, not %s", kindOf(v))
}

// asText takes numbers and booleans in lists and maps as the texts they look like, as HCL does.
func asText(v any) (string, error) {
	switch e := v.(type) {
	case string:
		return asString(e)
	case bool, int, int64, json.Number:
		return fmt.Sprint(e), nil
	case float64:
		if n, err := asInt(e); err == nil {
			return fmt.Sprint(n), nil
		}
		return fmt.Sprint(e), nil
	}
	return "", fmt.Errorf("want text, not %s", kindOf(v))
}

func asStringMap(v any) (map[string]string, error) {
	switch m := v.(type) {
	case map[string]string:
		return m, nil
	case map[string]any:
		if err := checkLength(len(m)); err != nil {
			return nil, err
		}
		out := make(map[string]string, len(m))
		for k, e := range m {
			s, err := asText(e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = s
		}
		return out, nil
	case []any: // a block
		if len(m) == 1 {
			return asStringMap(m[0])
		}
	case []map[string]any:
		if len(m) == 1 {
			return asStringMap(m[0])
		}
	}
	return nil, fmt.Errorf("want a map of texts, not %s", kindOf(v))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// shown is a value for a message.
func shown(v any) string {
	switch v.(type) {
	case string, bool, int, int64, float64, json.Number:
		if s := fmt.Sprintf("%v", v); len(s) <= 60 {
			return s
		}
	}
	return kindOf(v)
}
