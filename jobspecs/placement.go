package jobspecs

import (
	"fmt"
	"math/big"
	"strings"
)

// milliCores is what "500m" of cpu reads as: no number of MHz, because that depends on the node.
type milliCores int64

// thousandths reads "500m"; ok is false when v is something else.
func thousandths(v any) (n milliCores, ok bool, err error) {
	s, isString := v.(string)
	digits, isThousandths := strings.CutSuffix(s, "m")
	if !isString || !isThousandths || strings.TrimSpace(digits) == "" {
		return 0, false, nil
	}
	n64, err := toUnits(s, "thousandths of a core", func(unit string) (*big.Rat, error) {
		if unit != "m" {
			return megahertz(unit)
		}
		return big.NewRat(1, 1), nil
	})
	if err == nil && n64 < 1 {
		err = fmt.Errorf("must be at least 1m")
	}
	return milliCores(n64), true, err
}

// placement brings the words of a block that say where copies go into the form of a state.Job.
func (c *collector) placement(n *node) {
	c.conditions(n)
	for _, s := range n.all("spread") {
		c.required(s)
		for _, t := range s.all("target") {
			c.required(t)
		}
	}
	r := n.kid("resources")
	if r == nil {
		return
	}
	for _, d := range r.all("device") {
		c.conditions(d)
	}
	if m, ok := r.attrs.of("cpu").value.(milliCores); ok {
		r.attrs.set("MilliCores", attr{value: int64(m), at: r.attrs.of("cpu").at})
		r.attrs.remove("cpu")
	}
	if (r.has("cores") || r.has("MilliCores")) && !r.has("cpu") {
		r.attrs.set("cpu", attr{value: int64(0), at: r.at}) // the default is for tasks that say nothing
	}
}

// unsetAmount reports whether a JSON member is the 0 that programs write for an amount that is not set.
func unsetAmount(f *Field, m member, among *jsonValue) bool {
	if !isZero(m.value) {
		return false
	}
	switch f.Path {
	case "resources.cores", "resources.MilliCores", "resources.memory_max":
		return true
	case "resources.cpu":
		for _, other := range []string{"Cores", "MilliCores"} {
			if v := among.member(other); v != nil && !isZero(v) {
				return true
			}
		}
	}
	return false
}
