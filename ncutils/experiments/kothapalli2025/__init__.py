"""Cases of P1: can kernel methods explain how the data affects neural collapse?"""
