package state

import (
	"reflect"
	"testing"
)

// TestRequestHashSeesEveryField: two servers that remember other results have other hashes.
func TestRequestHashSeesEveryField(t *testing.T) {
	full := func() *requestRow {
		return &requestRow{ID: "i", Kind: "k", Object: "o", Index: 1, Register: &RegisterJobResult{Namespace: "n", JobID: "j", Version: 1, JobModifyIndex: 2}}
	}
	seen := map[uint64]string{full().hash(): "nothing"}
	note := func(name string, r *requestRow) {
		if before, twice := seen[r.hash()]; twice {
			t.Errorf("%s: the hash is that of %s", name, before)
		}
		seen[r.hash()] = name
	}
	edit := func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Uint64:
			v.SetUint(v.Uint() + 7)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		default:
			t.Fatalf("%s: this test knows no %s", name, v.Kind())
		}
	}
	for i := range reflect.TypeFor[requestRow]().NumField() {
		name := reflect.TypeFor[requestRow]().Field(i).Name
		r := full()
		if name == "Register" {
			r.Register = nil
		} else {
			edit(name, reflect.ValueOf(r).Elem().Field(i))
		}
		note(name, r)
	}
	for i := range reflect.TypeFor[RegisterJobResult]().NumField() {
		name := reflect.TypeFor[RegisterJobResult]().Field(i).Name
		r := full()
		edit(name, reflect.ValueOf(r.Register).Elem().Field(i))
		note("Register."+name, r)
	}
}
