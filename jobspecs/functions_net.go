package jobspecs

import (
	"errors"
	"fmt"
	"math/big"
	"net"

	"github.com/apparentlymart/go-cidr/cidr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

func networkFunctions() map[string]function.Function {
	number := func(name string) function.Parameter { return function.Parameter{Name: name, Type: cty.Number} }
	prefix := function.Parameter{Name: "prefix", Type: cty.String}
	text := func(params []function.Parameter, impl func(*net.IPNet, []*big.Int) (string, error)) function.Function {
		return function.New(&function.Spec{
			Params: params,
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				network, numbers, err := networkArgs(args)
				if err != nil {
					return cty.UnknownVal(cty.String), err
				}
				s, err := impl(network, numbers)
				return cty.StringVal(s), err
			},
		})
	}
	return map[string]function.Function{
		"cidrhost": text([]function.Parameter{prefix, number("hostnum")}, func(n *net.IPNet, nums []*big.Int) (string, error) {
			ip, err := cidr.HostBig(n, nums[0])
			return ip.String(), err
		}),
		"cidrnetmask": text([]function.Parameter{prefix}, func(n *net.IPNet, _ []*big.Int) (string, error) {
			if n.IP.To4() == nil {
				return "", errors.New("only IPv4 networks have a netmask")
			}
			return net.IP(n.Mask).String(), nil
		}),
		"cidrsubnet": text([]function.Parameter{prefix, number("newbits"), number("netnum")},
			func(n *net.IPNet, nums []*big.Int) (string, error) {
				sub, err := cidr.SubnetBig(n, bits(nums[0]), nums[1])
				if err != nil {
					return "", err
				}
				return sub.String(), nil
			}),
		"cidrsubnets": function.New(&function.Spec{
			Params:   []function.Parameter{prefix},
			VarParam: &function.Parameter{Name: "newbits", Type: cty.Number},
			Type:     function.StaticReturnType(cty.List(cty.String)),
			Impl:     cidrSubnets,
		}),
	}
}

// networkArgs reads a network and whole numbers of at most 128 bits.
func networkArgs(args []cty.Value) (*net.IPNet, []*big.Int, error) {
	_, network, err := net.ParseCIDR(args[0].AsString())
	if err != nil {
		return nil, nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", cut(args[0].AsString()))
	}
	var numbers []*big.Int
	for _, a := range args[1:] {
		f := a.AsBigFloat()
		if !f.IsInt() || f.MantExp(nil) > 128 {
			return nil, nil, errors.New("a whole number of at most 128 bits is needed")
		}
		n, _ := f.Int(nil)
		numbers = append(numbers, n)
	}
	return network, numbers, nil
}

// bits turns a number of bits into an int; what does not fit into an address is 1000, which is refused further down.
func bits(n *big.Int) int {
	if !n.IsInt64() || n.Int64() < 0 || n.Int64() > 128 {
		return 1000
	}
	return int(n.Int64())
}

// cidrSubnets gives out consecutive subnets of a network, each with its own number of additional bits.
func cidrSubnets(args []cty.Value, _ cty.Type) (cty.Value, error) {
	network, numbers, err := networkArgs(args)
	if err != nil {
		return cty.UnknownVal(cty.List(cty.String)), err
	}
	ones, all := network.Mask.Size()
	var subnets []cty.Value
	var current *net.IPNet
	for i, n := range numbers {
		length := ones + bits(n)
		if length > all || length == ones && len(numbers) > 1 {
			return cty.UnknownVal(cty.List(cty.String)), fmt.Errorf("subnet %d does not fit into %s", i+1, network)
		}
		if current == nil {
			current = &net.IPNet{IP: network.IP, Mask: net.CIDRMask(length, all)}
		} else {
			next, over := cidr.NextSubnet(current, length)
			if over || !network.Contains(next.IP) {
				return cty.UnknownVal(cty.List(cty.String)), fmt.Errorf("subnet %d does not fit into what is left of %s", i+1, network)
			}
			current = next
		}
		subnets = append(subnets, cty.StringVal(current.String()))
	}
	if len(subnets) == 0 {
		return cty.ListValEmpty(cty.String), nil
	}
	return cty.ListVal(subnets), nil
}
