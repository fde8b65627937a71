Hello ${name}, ${attr.cpu.arch} %{ for x in list }[${x}]%{ endfor }
