package agent

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// maxReservedPorts bounds what a range such as "1-65535" unfolds to.
const maxReservedPorts = 65535

// set takes over a value from a file.
func (k ConfigKey) set(c *Config, v cty.Value, from string) error {
	if v.IsNull() {
		return nil // as if it were not there
	}
	if !v.IsWhollyKnown() {
		return errors.New("must be a plain value")
	}
	if err := assign(k.field(c), v); err != nil {
		return err
	}
	c.origin[k.Path] = from
	return nil
}

// setText takes over a value from the environment or a flag.
func (k ConfigKey) setText(c *Config, text, from string) error {
	v := cty.StringVal(text)
	switch k.field(c).(type) {
	case *[]string:
		v = cty.ListValEmpty(cty.String)
		if parts := split(text); len(parts) > 0 {
			v = stringValues(parts)
		}
	case *map[string]string:
		pairs := map[string]cty.Value{}
		for _, part := range split(text) {
			key, value, ok := strings.Cut(part, "=")
			if !ok || key == "" {
				return fmt.Errorf("%q is not key=value", part)
			}
			pairs[key] = cty.StringVal(value)
		}
		if v = cty.EmptyObjectVal; len(pairs) > 0 {
			v = cty.ObjectVal(pairs)
		}
	}
	return k.set(c, v, from)
}

// split cuts a list at commas; blanks around the parts, and empty parts, are nothing.
func split(text string) []string {
	var parts []string
	for _, p := range strings.Split(text, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

func stringValues(list []string) cty.Value {
	values := make([]cty.Value, len(list))
	for i, s := range list {
		values[i] = cty.StringVal(s)
	}
	return cty.ListVal(values)
}

// assign converts a value to the type of what field points to. Lists replace what was there, maps are laid over it.
func assign(field any, v cty.Value) error {
	switch f := field.(type) {
	case *string:
		return assignAs(v, cty.String, "a string", func(v cty.Value) error { *f = v.AsString(); return nil })
	case *bool:
		return assignAs(v, cty.Bool, "true or false", func(v cty.Value) error { *f = v.True(); return nil })
	case *int:
		return assignAs(v, cty.Number, "a whole number", func(v cty.Value) error {
			n, accuracy := v.AsBigFloat().Int64()
			if accuracy != big.Exact || int64(int(n)) != n {
				return errors.New("must be a whole number")
			}
			*f = int(n)
			return nil
		})
	case *time.Duration:
		return assignDuration(f, v)
	case *[]string:
		return assignAs(v, cty.List(cty.String), "a list of strings", func(v cty.Value) error {
			list, err := stringsOf(v)
			*f = list
			return err
		})
	case *[]int:
		return assignPorts(f, v)
	case *map[string]string:
		return assignAs(v, cty.Map(cty.String), "a map of strings", func(v cty.Value) error {
			m := maps.Clone(*f)
			if m == nil {
				m = map[string]string{}
			}
			for key, e := range v.AsValueMap() {
				if !e.IsNull() {
					m[key] = e.AsString()
				}
			}
			*f = m
			return nil
		})
	}
	return fmt.Errorf("cannot be set (%T)", field)
}

func assignAs(v cty.Value, want cty.Type, name string, take func(cty.Value) error) error {
	got, err := convert.Convert(v, want)
	if err != nil {
		return fmt.Errorf("must be %s", name)
	}
	return take(got)
}

func stringsOf(v cty.Value) ([]string, error) {
	list := []string{}
	for _, e := range v.AsValueSlice() {
		if e.IsNull() {
			return nil, errors.New("must not hold null")
		}
		list = append(list, e.AsString())
	}
	return list, nil
}

// assignDuration takes "1m30s", or a number of nanoseconds as Nomad does.
func assignDuration(f *time.Duration, v cty.Value) error {
	if v.Type() == cty.Number {
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact {
			return errors.New("must be a duration such as \"30s\"")
		}
		*f = time.Duration(n)
		return nil
	}
	return assignAs(v, cty.String, "a duration such as \"30s\"", func(v cty.Value) error {
		d, err := time.ParseDuration(v.AsString())
		if err != nil {
			return fmt.Errorf("must be a duration such as \"30s\", not %q", v.AsString())
		}
		*f = d
		return nil
	})
}

// assignPorts takes "22,8000-8010" or a list of numbers.
func assignPorts(f *[]int, v cty.Value) error {
	const want = "ports such as \"22,8000-8010\""
	var parts []string
	if v.Type() == cty.String || v.Type() == cty.Number {
		if err := assignAs(v, cty.String, want, func(v cty.Value) error { parts = split(v.AsString()); return nil }); err != nil {
			return err
		}
	} else if err := assignAs(v, cty.List(cty.String), want, func(v cty.Value) (err error) { parts, err = stringsOf(v); return err }); err != nil {
		return err
	}
	ports := []int{}
	for _, part := range parts {
		first, last, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(strings.TrimSpace(first))
		high := low
		if isRange && err == nil {
			high, err = strconv.Atoi(strings.TrimSpace(last))
		}
		if err != nil || low < 1 || high > 65535 || low > high {
			return fmt.Errorf("must be %s, not %q", want, part)
		}
		for p := low; p <= high && len(ports) < maxReservedPorts; p++ {
			ports = append(ports, p)
		}
	}
	slices.Sort(ports)
	*f = slices.Compact(ports)
	return nil
}
