module uintr-example

go 1.22
