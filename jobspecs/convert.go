package jobspecs

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// convert turns a plain value (see plain) into what the field holds: string, int64, bool, []any of strings, map[string]any of
// strings, or any JSON value. The error is the rest of a sentence that begins with the field's name.
func (f *Field) convert(v any) (any, error) {
	switch f.Type {
	case TypeString:
		s, err := toString(v)
		if err != nil {
			return nil, err
		}
		return s, f.checkWord(s)
	case TypeBool:
		return toBool(v)
	case TypeNumber:
		return f.bounded(toWhole(v, "a whole number"))
	case TypeDuration:
		return f.bounded(toDuration(v))
	case TypeMiB:
		return f.bounded(toUnits(v, "MiB", mebibytes))
	case TypeMHz:
		if n, ok, err := thousandths(v); ok {
			return n, err
		}
		return f.bounded(toUnits(v, "MHz", megahertz))
	case TypeList:
		return toList(v)
	case TypeMap:
		return toMap(v)
	}
	return toJSON(v)
}

// checkWord refuses strings that the field does not know.
func (f *Field) checkWord(s string) error {
	if f.Words == nil || slices.Contains(f.Words, s) {
		return nil
	}
	for _, l := range f.Later {
		if prefix, any := strings.CutSuffix(l, "*"); s == l || any && strings.HasPrefix(s, prefix) {
			return fmt.Errorf("%q is not supported yet; %s", s, oneOf(f.Words))
		}
	}
	if s == "" {
		return fmt.Errorf("may not be empty; %s", oneOf(f.Words))
	}
	hint := didYouMean(s, f.Words)
	if hint == "" {
		hint = "; " + oneOf(f.Words)
	}
	return fmt.Errorf("may not be %q%s", s, hint)
}

func oneOf(words []string) string {
	if len(words) > 20 {
		words = append(slices.Clone(words[:20]), "…")
	}
	return "it may be " + strings.Join(words, ", ")
}

// bounded checks the field's bounds.
func (f *Field) bounded(n int64, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	show := func(n int64) string {
		if f.Type == TypeDuration {
			return time.Duration(n).String()
		}
		s := strconv.FormatInt(n, 10)
		if f.Type == TypeMiB || f.Type == TypeMHz {
			s += " " + string(f.Type)
		}
		return s
	}
	switch {
	case f.Min != nil && n < *f.Min && *f.Min == 0:
		return nil, fmt.Errorf("may not be negative")
	case f.Min != nil && n < *f.Min:
		return nil, fmt.Errorf("must be at least %s", show(*f.Min))
	case f.Max != nil && n > *f.Max:
		return nil, fmt.Errorf("may be at most %s", show(*f.Max))
	}
	return n, nil
}

func toString(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case *big.Float:
		if !representable(v) {
			return "", fmt.Errorf("is a number too large to be text")
		}
		return v.Text('f', -1), nil
	}
	return "", fmt.Errorf("must be a string, not %s", kindOf(v))
}

func toBool(v any) (any, error) {
	switch v {
	case true, "true":
		return true, nil
	case false, "false":
		return false, nil
	}
	return nil, fmt.Errorf("must be true or false, not %s", kindOf(v))
}

// toWhole accepts whole numbers, and strings that hold one.
func toWhole(v any, want string) (int64, error) {
	n, ok := v.(*big.Float)
	if s, isString := v.(string); isString {
		n, _, _ = big.ParseFloat(s, 10, 128, big.ToNearestEven)
		ok = n != nil && representable(n)
		if !ok {
			return 0, fmt.Errorf("must be %s, not %q", want, cut(s))
		}
	}
	if !ok {
		return 0, fmt.Errorf("must be %s, not %s", want, kindOf(v))
	}
	if !representable(n) || n.IsInf() {
		return 0, fmt.Errorf("is too large")
	}
	if !n.IsInt() {
		return 0, fmt.Errorf("must be %s, not %s", want, n.Text('g', 10))
	}
	i, acc := n.Int64()
	if acc != big.Exact {
		return 0, fmt.Errorf("is too large")
	}
	return i, nil
}

// toDuration accepts Go's "1h30m" and whole nanoseconds.
func toDuration(v any) (int64, error) {
	s, ok := v.(string)
	if !ok {
		return toWhole(v, `a duration such as "30s"`)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, numErr := strconv.ParseFloat(s, 64); numErr == nil {
			return 0, fmt.Errorf("has no unit; write %q", cut(s)+"s")
		}
		return 0, fmt.Errorf(`must be a duration such as "30s" or "1h30m", not %q`, cut(s))
	}
	return int64(d), nil
}

// toUnits accepts whole numbers, and numbers with a unit, which are rounded up.
func toUnits(v any, unit string, factor func(string) (*big.Rat, error)) (int64, error) {
	s, ok := v.(string)
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if !ok || digits == s || digits == "" {
		return toWhole(v, "a whole number of "+unit)
	}
	per, err := factor(s[len(digits):])
	if err != nil {
		return 0, err
	}
	digits = strings.TrimSpace(digits)
	n, ok := new(big.Rat).SetString(digits)
	if len(digits) > 20 || strings.Trim(digits, "0123456789.") != "" || !ok {
		return 0, fmt.Errorf("must be a number of %s, or a number with a unit, not %q", unit, cut(s))
	}
	n.Mul(n, per)
	up := new(big.Int).Add(n.Num(), new(big.Int).Sub(n.Denom(), big.NewInt(1)))
	up.Quo(up, n.Denom())
	if !up.IsInt64() || up.Int64() > 1<<40 {
		return 0, fmt.Errorf("is too large")
	}
	return up.Int64(), nil
}

// mebibytes returns how many MiB a unit is.
func mebibytes(unit string) (*big.Rat, error) {
	switch unit {
	case "B":
		return big.NewRat(1, 1<<20), nil
	case "KiB", "Ki":
		return big.NewRat(1, 1<<10), nil
	case "MiB", "Mi":
		return big.NewRat(1, 1), nil
	case "GiB", "Gi":
		return big.NewRat(1<<10, 1), nil
	case "TiB", "Ti":
		return big.NewRat(1<<20, 1), nil
	case "kB", "KB":
		return big.NewRat(1e3, 1<<20), nil
	case "MB":
		return big.NewRat(1e6, 1<<20), nil
	case "GB":
		return big.NewRat(1e9, 1<<20), nil
	case "TB":
		return big.NewRat(1e12, 1<<20), nil
	}
	return nil, fmt.Errorf("has the unknown unit %q; write MiB, GiB (1024s) or MB, GB (1000s)", cut(unit))
}

// megahertz returns how many MHz a unit is.
func megahertz(unit string) (*big.Rat, error) {
	switch unit {
	case "MHz":
		return big.NewRat(1, 1), nil
	case "GHz":
		return big.NewRat(1000, 1), nil
	}
	return nil, fmt.Errorf("has the unknown unit %q; write MHz, GHz or, for thousandths of a core, m", cut(unit))
}

func toList(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("must be a list of strings, not %s", kindOf(v))
	}
	out := make([]any, len(list))
	for i, e := range list {
		s, err := toString(e)
		if err != nil {
			return nil, fmt.Errorf("must be a list of strings; number %d %w", i+1, err)
		}
		out[i] = s
	}
	return out, nil
}

// toMap accepts strings, numbers and booleans as values; a null leaves its key out.
func toMap(v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("must be a map of strings, not %s", kindOf(v))
	}
	out := make(map[string]any, len(m))
	for k, e := range m {
		if e == nil {
			continue
		}
		s, err := toString(e)
		if err != nil {
			return nil, fmt.Errorf("key %q %w", k, err)
		}
		out[k] = s
	}
	return out, nil
}

// toJSON turns numbers into float64, as encoding/json reads them.
func toJSON(v any) (any, error) {
	switch v := v.(type) {
	case *big.Float:
		n, _ := v.Float64()
		if !representable(v) || v.IsInt() && !sameInteger(n, v) {
			return nil, fmt.Errorf("has a number that JSON readers cannot hold exactly; write it as a string")
		}
		return n, nil
	case []any:
		for i := range v {
			e, err := toJSON(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = e
		}
	case map[string]any:
		for k := range v {
			e, err := toJSON(v[k])
			if err != nil {
				return nil, err
			}
			v[k] = e
		}
	}
	return v, nil
}

// representable reports whether n is within float64's range, so that it has few digits.
func representable(n *big.Float) bool {
	f, _ := n.Float64()
	return n.Sign() == 0 || f != 0 && !new(big.Float).SetFloat64(f).IsInf()
}

// sameInteger reports whether f, written in the shortest way that reads back as f, is v.
func sameInteger(f float64, v *big.Float) bool {
	back, _, err := big.ParseFloat(strconv.FormatFloat(f, 'f', -1, 64), 10, v.Prec(), big.ToNearestEven)
	return err == nil && back.Cmp(v) == 0
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(cut(v))
	case bool:
		return strconv.FormatBool(v)
	case *big.Float:
		return "a number"
	case []any:
		return "a list"
	}
	return "a map"
}

// cut shortens text of a user for a message.
func cut(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
