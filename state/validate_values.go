package state

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	version "github.com/hashicorp/go-version"
)

// constraints checks operators and what they compare with. What is interpolated is known on the node only.
func (v validation) constraints(cs []Constraint) {
	v.atMost("constraint", len(cs), maxGroups)
	for i := range cs[:min(len(cs), maxGroups)] {
		v.constraint(&cs[i])
	}
}

func (v validation) constraint(c *Constraint) { v.condition("constraint", c) }

// condition checks what a constraint and an affinity have in common. field is the block that it is written in.
func (v validation) condition(field string, c *Constraint) {
	if len(c.LTarget) > maxMetaBytes || len(c.RTarget) > maxMetaBytes {
		v.refuse(field, "attribute and value must be at most %d bytes", maxMetaBytes)
		return
	}
	if c.LTarget == "" && c.Operand != OperandDistinctHosts {
		v.refuse(field, "operator %q needs an attribute", c.Operand)
	}
	interpolated := strings.Contains(c.RTarget, "${")
	switch c.Operand {
	case OperandEqual, OperandNotEqual, OperandLess, OperandLessOrEqual, OperandGreater, OperandGreaterOrEqual:
	case OperandIsSet, OperandIsNotSet:
	case OperandSetContains, OperandSetContainsAny:
		if c.RTarget == "" {
			v.refuse(field, "operator %q needs a value", c.Operand)
		}
	case OperandRegexp:
		v.regexp(field, c.RTarget, interpolated)
	case OperandVersion, OperandSemver:
		if _, err := version.NewConstraint(c.RTarget); err != nil && !interpolated {
			v.refuse(field, "%q is not a version constraint, such as \">= 1.2, < 2.0\": %v", c.RTarget, err)
		}
	case OperandDistinctHosts, OperandDistinctProperty:
		v.distinct(field, c)
	default:
		v.refuse(field, "operator %q is not known", c.Operand)
	}
}

func (v validation) regexp(field, expr string, interpolated bool) {
	if len(expr) > maxRegexpBytes {
		v.refuse(field, "a regular expression must be at most %d bytes, is %d", maxRegexpBytes, len(expr))
		return
	}
	if _, err := regexp.Compile(expr); err != nil && !interpolated {
		v.refuse(field, "%q is not a regular expression: %v", expr, err)
	}
}

func (v validation) distinct(field string, c *Constraint) {
	if v.task != "" {
		v.refuse(field, "operator %q belongs to a job or a group, not to a task", c.Operand)
	}
	if c.Operand == OperandDistinctHosts || c.RTarget == "" {
		return
	}
	if n, err := strconv.Atoi(c.RTarget); err != nil || n < 1 {
		v.refuse(field, "distinct_property needs a number of at least 1, not %q", c.RTarget)
	}
}

// config accepts what survives JSON, no deeper than maxNesting.
func (v validation) config(m map[string]any) {
	for _, k := range sortedKeys(m) {
		if problem := checkJSON(m[k], 1); problem != "" {
			v.refuse("config."+k, "%s", problem)
		}
	}
}

func checkJSON(value any, depth int) string {
	if depth > maxNesting {
		return "is nested deeper than " + strconv.Itoa(maxNesting) + " levels"
	}
	switch x := value.(type) {
	case nil, bool, string, int, int64, json.Number, []string, map[string]string:
		return ""
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return "is not a finite number"
		}
		return ""
	case []any:
		for _, e := range x {
			if problem := checkJSON(e, depth+1); problem != "" {
				return problem
			}
		}
		return ""
	case map[string]any:
		for _, k := range sortedKeys(x) {
			if problem := checkJSON(x[k], depth+1); problem != "" {
				return problem
			}
		}
		return ""
	case []map[string]any:
		for _, e := range x {
			if problem := checkJSON(e, depth+1); problem != "" {
				return problem
			}
		}
		return ""
	}
	return "is not a JSON value"
}
