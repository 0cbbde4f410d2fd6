void print_abi(){}
